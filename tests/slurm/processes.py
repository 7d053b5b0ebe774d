"""The processes of a cluster: started with their ids written down, found again, and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
Value = TypeVar("Value")


def program(name: str) -> str | None:
    """The path of a daemon or command; Debian keeps daemons where ordinary users do not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def start(
    command: list[str], *, pid_file: Path, said: Path, environment: Mapping[str, str], directory: Path
) -> subprocess.Popen[bytes]:
    """Start a daemon in the foreground of a session of its own, and write its process id down."""
    with said.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    pid_file.write_text(str(process.pid))
    return process


def daemon(pid_file: Path, slurm_conf: Path) -> psutil.Process | None:
    """The daemon whose id was written down, while it lives. Ids are used again: it must be that cluster's."""
    try:
        process = psutil.Process(int(pid_file.read_text()))
        if process.name() in DAEMONS and process.environ().get("SLURM_CONF") == str(slurm_conf):
            return process if alive(process) else None
    except (OSError, ValueError, psutil.Error):
        pass
    return None


def of_jobs(cluster: str, directory: Path, job_id: int | None = None) -> list[psutil.Process]:
    """Every process of the cluster's jobs, and where no job is named the steps' own daemons as well.

    Args:
        cluster: The cluster's name, which SLURM puts into the environment of jobs.
        directory: Of the cluster; the daemons of steps write their logs there.
        job_id: Only this job's.
    """
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("SLURM_CLUSTER_NAME") == cluster and "SLURM_JOB_ID" in environment:
                if job_id is None or environment["SLURM_JOB_ID"] == str(job_id):
                    found.append(process)
            elif job_id is None and _is_step(process, directory):
                found.append(process)
        except psutil.Error:
            continue  # it has ended, or is another user's
    return [process for process in found if alive(process)]


def _is_step(process: psutil.Process, directory: Path) -> bool:
    # It has overwritten its environment with its title, "slurmstepd: [12.batch]".
    return process.name().startswith("slurmstepd") and any(
        Path(file.path).is_relative_to(directory) for file in process.open_files()
    )


def alive(process: psutil.Process) -> bool:
    """Whether it runs: one that only waits for its parent to read its exit code does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Ask processes to end, and after so many seconds make them; with no seconds make them at once."""
    processes = list(processes)
    for process in processes:
        _send(process.terminate if seconds else process.kill)
    if seconds and not _gone(processes, seconds):
        for process in processes:
            _send(process.kill)
    if not _gone(processes, 10):
        raise TimeoutError(f"killed, and still there: {[process for process in processes if alive(process)]}")


def _send(signal: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        signal()


def _gone(processes: list[psutil.Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


PATIENCE = 240.0
"""Longest wait of a test for anything, in seconds. Waits end on events, so only what never comes takes it."""


def wait_for(question: Callable[[], Value], what: str, until: Callable[[Value], object] = bool) -> Value:
    """Ask again and again until the answer is the right one, and return it.

    Args:
        question: Cheap, and without side effects.
        what: What is waited for, for the error.
        until: Whether an answer is the right one; without it, whether it is true.

    Raises:
        TimeoutError: where it is not in time, with the last answer.
    """
    deadline = time.monotonic() + PATIENCE
    while not until(answer := question()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in {PATIENCE:g} s: {what}; last answer: {answer}")
        time.sleep(0.02)
    return answer
