"""Stopping of work in other threads of this process: only the main thread receives Ctrl-C.

A batch checks from time to time whether it has to stop. A batch of external programs then ends its programs
at once; a batch on the devices writes a checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from sweepflow.errors import SweepflowError


class EndedEarlyError(SweepflowError):
    """The sweep is ended early, on purpose: running work has to stop, as after an interruption."""


_CONDITION = threading.Condition()
_ACTIVE = 0
_ENDING = False


class InterruptedBatchError(Exception):
    """The sweep, or this process of it, was interrupted while this batch ran; nothing of the batch is
    kept."""


class Work:
    """The stoppable work of one sweep. Work of another sweep in this process goes on."""

    def __init__(self) -> None:
        self.active = 0
        self.asked = False

    @contextmanager
    def begun_here(self) -> Iterator[None]:
        """Count what begins in the block, or in a context that is copied there, as part of this work."""
        token = _WORK.set(self)
        try:
            yield
        finally:
            _WORK.reset(token)

    def stop(self, timeout_seconds: float) -> bool:
        """Ask this work to stop, and wait for it. The request stays valid for work that does not stop in
        time.

        Returns:
            Whether all of this work has stopped in time.
        """
        with _CONDITION:
            self.asked = True
            return _CONDITION.wait_for(lambda: self.active == 0, timeout_seconds)


_WORK: ContextVar[Work] = ContextVar("work", default=Work())  # noqa: B039  # that of no sweep


@contextmanager
def stoppable() -> Iterator[None]:
    """Mark the block as work that `Work.stop` waits for.

    The block has to call `raise_if_stopped` several times a second.
    """
    global _ACTIVE
    work = _WORK.get()
    with _CONDITION:
        _ACTIVE += 1
        work.active += 1
    try:
        yield
    finally:
        with _CONDITION:
            _ACTIVE -= 1
            work.active -= 1
            _CONDITION.notify_all()


def is_working() -> bool:
    """Return whether there is stoppable work in this process; at its end, this is work that could not be
    stopped."""
    return _ACTIVE > 0


def is_stopped() -> bool:
    """Return whether the work of this context was asked to stop, or this process is being ended."""
    return _ENDING or _WORK.get().asked


def raise_if_stopped() -> None:
    """Raise InterruptedBatchError if `is_stopped`."""
    if is_stopped():
        raise InterruptedBatchError("interrupted")


def stop_for_good() -> None:
    """Ask all stoppable work to stop, because this process is being ended; do not wait for it."""
    global _ENDING
    _ENDING = True


def stop_at_signals() -> None:
    """Make TERM and Ctrl-C stop all stoppable work before they call their existing handlers.

    Call this in the main thread.

    A signal that has no handler in this process ends it at once, and nothing has to be stopped.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _stopping(before))


def _stopping(before: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
    def heard(number: int, frame: FrameType | None) -> None:
        stop_for_good()
        before(number, frame)

    return heard
