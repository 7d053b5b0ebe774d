"""One external program: started in its own session, watched without blocking, and ended with all processes
that it started."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from sweepflow.errors import StoreError
from sweepflow.workloads import command_guard
from sweepflow.workloads.command_guard import GRACE_SECONDS, MARK, POLL_SECONDS, find, is_alive, send

SETTLE_SECONDS = 0.5
"""Seconds for which a failed program is taken for one that was ended together with this process."""


@contextmanager
def guarded() -> Iterator[str]:
    """Provide a mark for commands, all of which are ended if this process dies before the context is left."""
    mark = secrets.token_hex(8)
    guard = subprocess.Popen(
        [sys.executable, "-P", command_guard.__file__, mark],  # -P: what lies beside it shadows nothing
        stdin=subprocess.PIPE,  # nothing is written: its end is the news
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal goes to whole groups
    )
    try:
        yield mark
    finally:
        guard.communicate()


class CommandProcess:
    """A program and its descendants.

    Its standard output and error go directly to the log, in the order in which they are written. `poll`
    updates the state, and never blocks. Once the program has ended, or exceeds its time limit, or `end` is
    called, every process that carries its mark, or is in its process group, is asked to end, and killed
    `GRACE_SECONDS` later.

    Attributes:
        exit_code: Exit code of the program itself, negative for a signal; None while it runs.
        timed_out: Whether the program was ended because it exceeded its time limit.
        seconds: Seconds from its start to its end.
        log: The log, open for reading and writing; still this program's log if another has taken its name.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        mark: str,
        *,
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        self.exit_code: int | None = None
        self.timed_out = False
        self.seconds = 0.0
        self._arguments = list(arguments)
        self._directory = directory
        self._mark = secrets.token_hex(8)
        marks = f"{os.environ.get(MARK, '')} {mark} {self._mark}".strip()
        self._environment = {**os.environ, **(environment or {}), MARK: marks}
        self._timeout = timeout_seconds
        self._program: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._kill_at: float | None = None
        self._members: list[psutil.Process] = []
        self.log = _fresh(log)

    def start(self) -> None:
        """Start the program.

        Raises:
            OSError: if the system cannot start it.
        """
        self._started = time.monotonic()
        self._program = subprocess.Popen(
            self._arguments,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env=self._environment,
            start_new_session=True,
        )

    def poll(self) -> bool:
        """Update the state, and return whether the program and all processes that it started have ended."""
        self._reap()
        now = time.monotonic()
        if self._kill_at is None:
            late = self._timeout is not None and now - self._started > self._timeout
            if self.exit_code is None and not late:
                return False
            self.timed_out = self.exit_code is None
            self.end()
            if not self.timed_out and not self._members:
                return True
        self._members = [member for member in self._members if is_alive(member)]
        if self._members and self._kill_at is not None and now < self._kill_at:
            return False
        # Also where none is left of those that were asked: they may have started others meanwhile.
        self._members += [new for new in find(self._mark) if new not in self._members]
        send(self._members, signal.SIGKILL)
        self._reap()
        return not self._members and (self._program is None or self.exit_code is not None)

    def is_settled(self) -> bool:
        """Return whether the end that `poll` has seen is the program's own.

        If a SLURM job is cancelled, for example, this process is ended too, but learns of it a moment later.
        """
        patience = SETTLE_SECONDS if self.exit_code and not self.timed_out else POLL_SECONDS
        return time.monotonic() >= self._started + self.seconds + patience

    def end(self) -> None:
        """Ask all remaining processes to end; `poll` makes sure that they do."""
        if self._kill_at is not None:
            return
        # By group only here, where the program was just seen or reaped: later its number may be another's.
        self._members = find(self._mark, group=self._program.pid if self._program is not None else None)
        self._kill_at = time.monotonic() + GRACE_SECONDS
        send(self._members, signal.SIGTERM)

    def kill(self) -> None:
        """End the waiting time: the next `poll` kills the processes."""
        self.end()
        self._kill_at = 0.0

    def _reap(self) -> None:
        if self._program is not None and self.exit_code is None:
            self.exit_code = self._program.poll()
            self.seconds = time.monotonic() - self._started


def end_all(processes: Iterable[CommandProcess]) -> None:
    """End these processes and wait until none is left; kill them at once if the wait is interrupted."""
    left = list(processes)
    try:
        for process in left:
            process.end()
        _wait(left)
    except BaseException:
        for process in left:
            process.kill()
        _wait(left)
        raise


def _wait(processes: Sequence[CommandProcess]) -> None:
    left = list(processes)
    while left := [process for process in left if not process.poll()]:
        time.sleep(POLL_SECONDS)
    for process in processes:
        process.log.close()


def _fresh(log: Path) -> IO[bytes]:
    """Return a new file at this path. A program that still writes to an older file keeps that file for
    itself."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        return log.open("a+b")
    except OSError as error:
        raise StoreError(
            "a log cannot be written",
            got=f"{log}: {error.strerror or error}",
            do="free space, mend the permissions, or give another directory with store=DIR",
        ) from error
