"""The process that starts a job's workers, one per GPU or core, each with an environment of its own.

    python -m sweepflow.flows.runners.worker SCHEDULER --name NAME ...  the arguments of Dask's worker command

The environment is set before a worker imports JAX. A worker that is killed, for example because memory ran
out, is started again: there is no need to wait in the queue for another job. Workers end with this process,
however this process ends. It ends when all workers have ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sweepflow.engine.devices import worker_environment
from sweepflow.flows.runners.encryption import worker_arguments

STOP_SECONDS = 10.0
"""Time that workers may take to leave once they are asked to; after that they are killed."""
POLL_SECONDS = 0.2
MOST_RESTARTS = 10
"""Largest number of workers of a job that are started again in their places after a signal killed them."""
PR_SET_PDEATHSIG = 1
PARENT = "SWEEPFLOW_PARENT"
"""Environment variable with the id of the process that this one ends with, if it is on the same machine."""


def command(arguments: Sequence[str], number: int, of: int) -> list[str]:
    """Return the command of one worker.

    Args:
        arguments: Arguments of Dask's worker command; if an option is given twice, the last one counts.
        number: Number of the worker, from 0.
        of: Number of workers of the job.
    """
    name = arguments[arguments.index("--name") + 1] if "--name" in arguments else f"worker-{os.getpid()}"
    return [
        *(sys.executable, "-P", "-m", "distributed.cli.dask_worker", *arguments),
        *("--name", f"{name}-{number}"),
        *("--nthreads", "1"),
        # A nanny would start a lost worker again where nobody counts it.
        "--no-nanny",
        # Dask would pause a worker whose memory is nearly full, and a batch would wait for ever; SLURM, or
        # the machine, ends one that takes too much.
        *("--memory-limit", "0"),
        "--no-dashboard",
        *worker_arguments(os.environ),
        *("--preload", "sweepflow.flows.runners.probe"),
    ]


def main(arguments: Sequence[str]) -> int:
    """Start the workers and wait for all of them.

    Returns:
        The exit code of the first worker that failed for good, or 128 plus the signal if a signal ended it;
        0 if no worker failed.
    """
    if (parent := os.environ.get(PARENT)) is not None:
        _end_with(int(parent), signal.SIGTERM)()
    of = int(os.environ.get("SWEEPFLOW_PROCESSES", "1"))

    def start(number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command(arguments, number, of),
            env=worker_environment(number, of, os.environ),
            stdin=subprocess.DEVNULL,
            preexec_fn=_end_with(os.getpid()),
        )

    # Held back until there is somebody to forward them to.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    running = {number: start(number) for number in range(of)}
    asked: list[float] = []

    def forward(number: int, _: object) -> None:
        asked.append(time.monotonic())
        for worker in list(running.values()):
            if worker.poll() is None:
                worker.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    failures: list[int] = []
    restarts = MOST_RESTARTS
    while running:
        if asked and time.monotonic() > asked[0] + STOP_SECONDS:
            for worker in running.values():
                worker.kill()
        with suppress(subprocess.TimeoutExpired):
            next(iter(running.values())).wait(POLL_SECONDS)
        for number in [number for number, worker in running.items() if worker.poll() is not None]:
            code = running.pop(number).returncode
            if code < 0 and not asked and restarts:
                restarts -= 1
                running[number] = start(number)
                if asked:  # meanwhile, and this one has not heard of it
                    running[number].terminate()
            elif code:
                failures.append(code)
    first = failures[0] if failures else 0
    return 128 - first if first < 0 else first


def _end_with(parent: int, by: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Return a function that asks the kernel to end a child with its parent.

    A child calls it before it becomes a worker.
    """
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def ask() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, by)
            if os.getppid() != parent:  # it has ended meanwhile
                os._exit(1)

    return ask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
