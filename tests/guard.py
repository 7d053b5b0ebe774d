"""What ends the processes that tests start, once the test process itself has ended, however that was.

A test ends what it starts; one that is killed cannot. Then a process of its own does, one for each test
process: it reads of what is started, and its standard input closes with the test process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache

import psutil

SECONDS = 3.0
"""Time to end after SIGTERM."""


def guard(pid: int) -> None:
    """End a process, the leader of its process group, and its group with this process at the latest."""
    pipe = _guard().stdin
    assert pipe is not None
    pipe.write(f"{pid}\n")
    pipe.flush()


@cache
def _guard() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
    )


def main() -> None:
    """End the process groups whose ids were read, once there is nothing more to read."""
    leaders: list[psutil.Process] = []
    for line in sys.stdin:
        with suppress(psutil.NoSuchProcess):
            leaders.append(psutil.Process(int(line)))
    # A process is known by its start, too: an id may be another's by now.
    left = [leader for leader in leaders if leader.is_running()]
    for request in (signal.SIGTERM, signal.SIGKILL):
        for leader in left:  # of which a group may outlive its leader
            with suppress(ProcessLookupError):
                os.killpg(leader.pid, request)
        psutil.wait_procs(left, SECONDS)


if __name__ == "__main__":
    main()
