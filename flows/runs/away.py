"""Batches that could not be begun or ended because Prefect's server was away."""

from __future__ import annotations

import time
from collections.abc import Callable

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from flows.runs.reconcile import is_away, read_flow_run

AWAY_SECONDS = 600.0
"""How long a sweep waits for a Prefect server that is away."""
ASK_SECONDS = 5.0
"""Between two questions whether it is back."""


class ServerWatch:
    """Whether batches have to wait for Prefect's server.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._heard_at = self._ask_at = 0.0
        self._away = False

    def is_to_wait(self, error: BaseException) -> bool:
        """Whether a batch that has ended by this error is to run again once the server is back."""
        if not is_away(error) or not _is_prefect(error):
            return False
        now = self._clock()
        # One that answers questions, and fails at batches, is still the same: each takes minutes to say so.
        if self._since is None or now - self._heard_at >= AWAY_SECONDS:
            self._since = now
        self._away, self._heard_at, self._ask_at = True, now, now + ASK_SECONDS
        return now - self._since < AWAY_SECONDS

    def worked(self) -> None:
        """A batch has begun and ended: the server is there."""
        self._since = None

    @property
    def waiting(self) -> str:
        """What there is to wait for, in words; empty where nothing is. The server is asked now and then."""
        now = self._clock()
        if self._away and now >= self._ask_at:
            silent = not _answers()
            self._heard_at = now if silent else self._heard_at
            self._away, self._ask_at = silent and not self._is_over(now), now + ASK_SECONDS
        return "Prefect's server, which does not answer" if self._away else ""

    def _is_over(self, now: float) -> bool:
        return self._since is not None and now - self._since >= AWAY_SECONDS


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
