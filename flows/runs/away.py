"""A Prefect server that is away: for how long one sweep waits for it, whatever of the sweep waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from sweepflow.flows.runs.reconcile import is_away, read_flow_run

AWAY_SECONDS = 600.0
"""How long a sweep waits for a Prefect server that is away."""
ASK_SECONDS = 5.0
"""Between two questions whether it is back."""


class Outage:
    """Since when Prefect's server is away from one sweep: its batches, and its end, wait within one limit.

    Attributes:
        clock: Seconds.
        too_long: Whether it has lasted for longer than a sweep waits.
        given_up: Whether it was said that the sweep waits no longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.too_long = self.given_up = False
        self._since: float | None = None
        self._heard_at = 0.0

    @property
    def seconds(self) -> float:
        """How long it has lasted; 0 where there is none, or where the last was long ago."""
        now = self.clock()
        # One that answers questions, and fails at batches, is still the same: each takes minutes to say so.
        if self._since is None or now - self._heard_at >= AWAY_SECONDS:
            return 0.0
        return now - self._since

    def heard(self) -> float:
        """It is away just now; for how long by now."""
        now = self.clock()
        lasted = self.seconds
        self._since, self._heard_at = now - lasted, now
        return lasted

    def over(self) -> None:
        """It is there."""
        self._since = None
        self.too_long = self.given_up = False


_OUTAGE: ContextVar[Outage] = ContextVar("outage")


@contextmanager
def one_outage() -> Iterator[None]:
    """Let all that waits for the server in the block, a flow's body, do so within one limit."""
    token = _OUTAGE.set(Outage())
    try:
        yield
    finally:
        _OUTAGE.reset(token)


def outage() -> Outage:
    """That of the flow that runs here; one of the caller's own where none does."""
    return _OUTAGE.get(None) or Outage()


class ServerWatch:
    """Whether batches have to wait for Prefect's server.

    Args:
        of: The outage that they share; the flow's where it is not given.
    """

    def __init__(self, of: Outage | None = None) -> None:
        self._outage = of or outage()
        self._ask_at = 0.0
        self._away = False

    def is_to_wait(self, error: BaseException) -> bool:
        """Whether a batch that has ended by this error is to run again once the server is back."""
        if not is_away(error) or not _is_prefect(error):
            return False
        self._away, self._ask_at = True, self._outage.clock() + ASK_SECONDS
        self._outage.too_long = self._outage.heard() >= AWAY_SECONDS
        return not self._outage.too_long

    def worked(self) -> None:
        """A batch has begun and ended: the server is there."""
        self._outage.over()

    @property
    def stays_away(self) -> bool:
        """Whether it has been away for as long as a sweep waits, and is: nothing can be begun."""
        return self._outage.too_long and not _answers()

    @property
    def waiting(self) -> str:
        """What there is to wait for, in words; empty where nothing is. The server is asked now and then."""
        now = self._outage.clock()
        if self._away and now >= self._ask_at:
            silent = not _answers()
            self._outage.too_long = silent and self._outage.heard() >= AWAY_SECONDS
            self._away, self._ask_at = silent and not self._outage.too_long, now + ASK_SECONDS
        return "Prefect's server, which does not answer" if self._away else ""


def _is_prefect(error: BaseException) -> bool:
    """Whether an error of a request is of one to Prefect's server; so it is where nobody knows any more."""
    try:
        return str(error.request.url).startswith(get_current_settings().api.url or "")  # type: ignore[attr-defined]
    except (RuntimeError, AttributeError):  # it has come from another process, or is Prefect's own
        return True


def _answers() -> bool:
    try:
        read_flow_run(flow_run.id, deadline_seconds=0.0)
    except Exception as error:
        return not is_away(error)
    return True
