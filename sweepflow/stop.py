"""Stop what runs in other threads of this process: they do not see Ctrl-C, which is the main thread's.

A batch asks now and then whether it is to stop: one of external programs ends its programs where it is, one
on the devices leaves a checkpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CONDITION = threading.Condition()
_ACTIVE = 0
_ASKED = False


class StoppedError(Exception):
    """The sweep was interrupted while this batch ran."""


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


def is_stopped() -> bool:
    """Whether `stop_all` waits."""
    return _ASKED


def raise_if_stopped() -> None:
    """Raises StoppedError while `stop_all` waits."""
    if _ASKED:
        raise StoppedError("interrupted")


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
