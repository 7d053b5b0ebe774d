"""Stop what runs in other threads of this process: they do not see Ctrl-C, which is the main thread's.

A batch asks now and then whether it is to stop: one of external programs ends its programs where it is, one
on the devices leaves a checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sweepflow.errors import SweepflowError


class EndedEarlyError(SweepflowError):
    """The sweep is ended before its end, on purpose: what runs is to stop, as where it is interrupted."""


_CONDITION = threading.Condition()
_ACTIVE = 0
_ASKED = _ENDING = False


class InterruptedBatchError(Exception):
    """The sweep, or this process of it, was interrupted while this batch ran; nothing is kept of it."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Work that `stop_all` waits for; it calls `raise_if_stopped` several times a second."""
    global _ACTIVE
    with _CONDITION:
        _ACTIVE += 1
    try:
        yield
    finally:
        with _CONDITION:
            _ACTIVE -= 1
            _CONDITION.notify_all()


def is_working() -> bool:
    """Whether there is stoppable work in this process: at its end, what could not be stopped."""
    return _ACTIVE > 0


def is_stopped() -> bool:
    """Whether `stop_all` waits, or this process is being ended."""
    return _ASKED or _ENDING


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


def stop_all(timeout_seconds: float) -> bool:
    """Ask all stoppable work to stop, and wait for it.

    Returns:
        Whether all of it has stopped in time.
    """
    global _ASKED
    with _CONDITION:
        _ASKED = True
        try:
            return _CONDITION.wait_for(lambda: _ACTIVE == 0, timeout_seconds)
        finally:
            _ASKED = False
