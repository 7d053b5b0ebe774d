"""Ends the processes of a sweep's commands once the sweep is gone, however it went.

Started as a program of its own, by its path: it imports nothing of sweepflow, and is up in no time. It reads
standard input to its end, which comes when the sweep closes it, or dies in whatever way (killed, out of
memory, an exit that runs no clean-up); then it ends what still carries the sweep's mark.
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
several marks: of the command, of its sweep, and of the sweeps around that."""

GRACE_SECONDS = 5.0
"""From asking a program to end (SIGTERM) to ending it (SIGKILL)."""

POLL_SECONDS = 0.02
"""Between two looks at what runs."""


def find(mark: str, *, group: int | None = None) -> list[psutil.Process]:
    """The live processes that carry a mark, or are in a process group."""
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):  # it ended meanwhile, or is another user's
            process = psutil.Process(pid)
            grouped = group is not None and os.getpgid(pid) == group
            if (grouped or mark in process.environ().get(MARK, "").split()) and is_alive(process):
                found.append(process)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs: one that has ended, and that nobody has asked about yet, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send each a signal, unless it has ended."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def end_marked(mark: str) -> None:
    """Ask everything that carries the mark to end; kill what has not after GRACE_SECONDS."""
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
