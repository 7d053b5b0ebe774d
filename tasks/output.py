"""What a sweep prints ends no sweep: a terminal that is gone, a pipe whose reader is gone, a full disk."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

ENGINE = "PREFECT__FLOW_RUN_ID"
"""In the environment of a process that runs one flow run and ends."""


DEAD = {
    *(errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO),
    *(errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN),
}
"""Of a pipe, a terminal or a socket that nobody will read again."""
_LOCK = threading.Lock()


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let writing to standard output and standard error fail for nobody until the block ends.

    Rich, Prefect's log, `print` and warnings all end in a call of these two streams, whoever holds them; rich
    would end the process. What cannot be written is lost, as its reader is; what is in a buffer still is
    written here, and not as the process ends. In a process of a deployment's this holds to its end: Prefect
    logs after the flow, too. A command whose exit code tells of a sweep is decorated with it, and every flow
    of sweeps runs in it. Blocks may be in one another or in several threads: it holds until the last ends.
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
    """Write to nobody where a standard stream was closed before this process began."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def keep_output(stream: TextIO) -> bool:
    """Let writing to a stream fail for nobody.

    Returns:
        Whether it does: not where the stream is of somebody's own, and has calls that cannot be replaced.
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
    """One who has kept a stream does so no more; with the last its own calls are back."""
    with _LOCK:
        for name in ("write", "flush"):
            call = getattr(stream, name)
            if isinstance(call, _Lasting):  # nobody has replaced it meanwhile
                call.holders -= 1
                if not call.holders:
                    delattr(stream, name)


class _Lasting:
    """A call that writes."""

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
    """Point a file descriptor to nothing: what is still in the stream's buffer can go, too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, number)
    finally:
        os.close(nothing)
