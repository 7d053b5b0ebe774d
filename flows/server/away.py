"""Wait for a Prefect server that is away, with one time limit for all parts of a sweep that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from sweepflow.flows.runs.reconcile import is_away, read_flow_run

AWAY_SECONDS = 600.0
"""Maximum time that a sweep waits for a Prefect server that is away."""
ASK_SECONDS = 5.0
"""Time between two checks whether the server is back."""


class Outage:
    """An outage of Prefect's server for one sweep. The batches and the end of the sweep share one time limit.

    Attributes:
        clock: Function that returns the time in seconds.
        too_long: Whether the outage has lasted for longer than a sweep waits.
        given_up: Whether a message has said that the sweep waits no longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.too_long = self.given_up = False
        self._since: float | None = None
        self._heard_at = 0.0

    @property
    def seconds(self) -> float:
        """Duration of the outage; 0 if there is none, or if the last one was long ago."""
        now = self.clock()
        # One that answers questions, and fails at batches, is still the same: each takes minutes to say so.
        if self._since is None or now - self._heard_at >= AWAY_SECONDS:
            return 0.0
        return now - self._since

    def heard(self) -> float:
        """Note that the server is away just now, and return for how many seconds it has been away."""
        now = self.clock()
        lasted = self.seconds
        self._since, self._heard_at = now - lasted, now
        return lasted

    def over(self) -> None:
        """Note that the server is there."""
        self._since = None
        self.too_long = self.given_up = False


_OUTAGE: ContextVar[Outage] = ContextVar("outage")


@contextmanager
def one_outage() -> Iterator[None]:
    """Give one time limit to everything that waits for the server in the block, which is a flow's body."""
    token = _OUTAGE.set(Outage())
    try:
        yield
    finally:
        _OUTAGE.reset(token)


def outage() -> Outage:
    """Return the outage of the flow that runs here, or a new one for the caller if no flow runs."""
    return _OUTAGE.get(None) or Outage()


class ServerWatch:
    """A watch that decides whether batches have to wait for Prefect's server.

    Args:
        of: The outage that the batches share; by default that of the flow.
    """

    def __init__(self, of: Outage | None = None) -> None:
        self._outage = of or outage()
        self._ask_at = 0.0
        self._away = False

    def is_to_wait(self, error: BaseException) -> bool:
        """Return whether a batch that has ended by this error is to run again once the server is back."""
        if not is_away(error) or not _is_prefect(error):
            return False
        self._away, self._ask_at = True, self._outage.clock() + ASK_SECONDS
        self._outage.too_long = self._outage.heard() >= AWAY_SECONDS
        return not self._outage.too_long

    def worked(self) -> None:
        """Note that a batch has begun and ended, and so the server is there."""
        self._outage.over()

    @property
    def stays_away(self) -> bool:
        """True if the server has been away for as long as a sweep waits, and still is: nothing can start."""
        return self._outage.too_long and not _answers()

    @property
    def waiting(self) -> str:
        """The thing to wait for, in words; empty if there is none. The server is asked from time to time."""
        now = self._outage.clock()
        if self._away and now >= self._ask_at:
            silent = not _answers()
            self._outage.too_long = silent and self._outage.heard() >= AWAY_SECONDS
            self._away, self._ask_at = silent and not self._outage.too_long, now + ASK_SECONDS
        return "Prefect's server, which does not answer" if self._away else ""


def _is_prefect(error: BaseException) -> bool:
    """Return whether an error comes from a request to Prefect's server; True if that is no longer known."""
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
