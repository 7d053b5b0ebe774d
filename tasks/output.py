"""Output whose failure does not end a sweep.

Examples are a terminal that is gone, a pipe whose reader is gone, and a full disk.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TextIO

ENGINE = "PREFECT__FLOW_RUN_ID"
"""Environment variable that is set in a process that runs one flow run and ends."""


DEAD = {
    *(errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO),
    *(errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN),
}
"""Error numbers of a pipe, a terminal or a socket that nobody will read again."""
_LOCK = threading.Lock()
_PROGRESS_SHOWN: ContextVar[bool] = ContextVar("sweepflow_progress_shown", default=True)


@contextmanager
def progress_shown(shown: bool) -> Iterator[None]:
    """Decide whether flows that are called in the block show their progress on standard error."""
    token = _PROGRESS_SHOWN.set(shown)
    try:
        yield
    finally:
        _PROGRESS_SHOWN.reset(token)


def is_progress_shown() -> bool:
    """Return whether flows show their progress on standard error."""
    return _PROGRESS_SHOWN.get()


@contextmanager
def lasting_output() -> Iterator[None]:
    """Suppress errors of writing to standard output and standard error until the block ends.

    Rich, Prefect's log, `print` and warnings all end in a call of these two streams, whoever holds them. On
    an error, rich would end the process. Output that cannot be written is lost, as its reader is gone. Output
    that is still in a buffer is written at the end of the block, and not when the process ends. In a process
    of a deployment, errors are suppressed until the process ends, because Prefect also logs after the flow.

    A command whose exit code reports on a sweep is decorated with this function, and every flow of sweeps
    runs in it. Blocks may be nested, or in several threads: errors are suppressed until the last block ends.
    """
    some_output()
    kept = [stream for stream in (sys.stdout, sys.stderr) if keep_output(stream)]
    try:
        yield
    finally:
        for stream in kept if ENGINE not in os.environ else ():
            stream.flush()
            _release(stream)


def some_output() -> None:
    """Discard the output of a standard stream that was closed before this process began."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def keep_output(stream: TextIO) -> bool:
    """Suppress errors of writing to a stream.

    Returns:
        Whether errors are suppressed; false for a custom stream whose calls cannot be replaced.
    """
    with _LOCK:
        try:
            for name in ("write", "flush"):
                if not isinstance(getattr(stream, name), _Lasting):
                    setattr(stream, name, _Lasting(getattr(stream, name), stream))
                getattr(stream, name).holders += 1
        except AttributeError:
            return False
        return True


def _release(stream: TextIO) -> None:
    """Undo one call of `keep_output`; after the last one, the stream has its own calls again."""
    with _LOCK:
        for name in ("write", "flush"):
            call = getattr(stream, name)
            if isinstance(call, _Lasting):  # nobody has replaced it meanwhile
                call.holders -= 1
                if not call.holders:
                    delattr(stream, name)


class _Lasting:
    """A call of a stream that writes, with errors suppressed."""

    def __init__(self, call: Callable[..., Any], stream: TextIO) -> None:
        self._call, self._stream = call, stream
        self.holders = 0

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self._call(*arguments)
        except OSError as error:
            if error.errno in DEAD:
                with suppress(OSError, ValueError):
                    _to_nobody(self._stream.fileno())
        except ValueError:
            if not self._stream.closed:
                raise
        return len(arguments[0]) if arguments else None


def _to_nobody(number: int) -> None:
    """Point a file descriptor to the null device, so that the rest of the stream's buffer can go there."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, number)
    finally:
        os.close(nothing)
