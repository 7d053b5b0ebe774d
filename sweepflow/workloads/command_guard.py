"""Ends the processes of a sweep's commands once the sweep has ended, for whatever reason.

It is started as a separate program, by its path: it imports nothing of sweepflow, and starts quickly. It
reads standard input to its end. The end comes when the sweep closes the input, or dies in any way (killed,
out of memory, an exit that runs no clean-up). Then it ends every process that still carries the sweep's mark.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

MARK = "SWEEPFLOW_PROCESS"
"""Environment variable by which a command's descendants are found, whatever session they are in. It holds
several marks: of the command, of its sweep, and of the sweeps that enclose this sweep."""

GRACE_SECONDS = 5.0
"""Seconds from asking a program to end (SIGTERM) to killing it (SIGKILL)."""

POLL_SECONDS = 0.02
"""Seconds between two checks of the running processes."""


def find(mark: str, *, group: int | None = None) -> list[psutil.Process]:
    """Return the live processes that carry a mark, or are in a process group."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):  # it ended meanwhile, or is another user's
            process = psutil.Process(pid)
            grouped = group is not None and os.getpgid(pid) == group
            if (grouped or mark in process.environ().get(MARK, "").split()) and is_alive(process):
                found.append(process)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs. A zombie, which has ended and was not waited for, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send each process a signal, unless it has ended."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def end_marked(mark: str) -> None:
    """Ask all processes that carry the mark to end; kill those that have not ended after GRACE_SECONDS."""
    asked = find(mark)
    send(asked, signal.SIGTERM)
    kill_at = time.monotonic() + GRACE_SECONDS
    while any(map(is_alive, asked)) and time.monotonic() < kill_at:
        time.sleep(POLL_SECONDS)
    while left := find(mark):
        send(left, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_marked(sys.argv[1])
