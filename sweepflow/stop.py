"""Stop what runs in other threads of this process: they do not see Ctrl-C, which is the main thread's.

A batch asks now and then whether it is to stop: one of external programs ends its programs where it is, one
on the devices leaves a checkpoint.
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
    """The sweep is ended before its end, on purpose: what runs is to stop, as where it is interrupted."""


_CONDITION = threading.Condition()
_ACTIVE = 0
_ENDING = False


class InterruptedBatchError(Exception):
    """The sweep, or this process of it, was interrupted while this batch ran; nothing is kept of it."""


class Work:
    """The stoppable work of one sweep. Another may be at work in this process, and goes on."""

    def __init__(self) -> None:
        self.active = 0
        self.asked = False

    @contextmanager
    def begun_here(self) -> Iterator[None]:
        """What begins in the block, or in a context that is copied there, is of this work."""
        token = _WORK.set(self)
        try:
            yield
        finally:
            _WORK.reset(token)

    def stop(self, timeout_seconds: float) -> bool:
        """Ask it to stop, and wait for it. What does not stop in time is asked for as long as it runs.

        Returns:
            Whether all of it has stopped in time.
        """
        with _CONDITION:
            self.asked = True
            return _CONDITION.wait_for(lambda: self.active == 0, timeout_seconds)


_WORK: ContextVar[Work] = ContextVar("work", default=Work())  # noqa: B039  # that of no sweep


@contextmanager
def stoppable() -> Iterator[None]:
    """Work that `Work.stop` waits for; it calls `raise_if_stopped` several times a second."""
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
    """Whether there is stoppable work in this process: at its end, what could not be stopped."""
    return _ACTIVE > 0


def is_stopped() -> bool:
    """Whether the work that this is of was asked to stop, or this process is being ended."""
    return _ENDING or _WORK.get().asked


def raise_if_stopped() -> None:
    """Raises InterruptedBatchError where `is_stopped`."""
    if is_stopped():
        raise InterruptedBatchError("interrupted")


def stop_for_good() -> None:
    """Ask all stoppable work to stop, as this process is being ended; does not wait."""
    global _ENDING
    _ENDING = True


def stop_at_signals() -> None:
    """Let TERM and Ctrl-C stop all stoppable work, before what they do already. For the main thread.

    What they are not handled by in this process they end at once, and nothing has to be stopped.
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
