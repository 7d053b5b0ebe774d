"""Worker processes of this machine, each treated like a cluster's job with one worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweepflow.engine.devices import worker_environment
from sweepflow.flows.runners.jobs import Ended, Held, StartError
from sweepflow.flows.runners.probe import last_words
from sweepflow.flows.runners.worker import PARENT

END_SECONDS = 10.0
"""Time that processes may take to end before they are killed."""


class Processes:
    """Starts worker processes on this machine.

    Args:
        most: Largest number of processes at once; each has its share of the devices.
        environment: Variables that the processes see in addition to this process's environment.
        logs: Directory of their output.
        name: Prefix of the names of their logs.
        connect_seconds: Time for which a worker tries to reach its scheduler.
    """

    workers_each = 1

    def __init__(
        self, most: int, environment: Mapping[str, str], logs: Path, name: str, connect_seconds: float
    ) -> None:
        self._connect_seconds = connect_seconds
        self._most = most
        self._environment, self._logs, self._name = environment, logs, name
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._place: dict[str, int] = {}

    def start(self, scheduler: str) -> str:
        job_id = str(len(self._started) + 1)
        taken = {self._place[held.id] for held in self.held()}
        place = next(number for number in range(self._most + 1) if number not in taken) % self._most
        self._place[job_id] = place
        self._logs.mkdir(parents=True, exist_ok=True)
        # -P: what lies in the working directory shadows no module. The probe adds what this process imports
        # from.
        command = [sys.executable, "-P", "-m", "sweepflow.flows.runners.worker", scheduler]
        command += ["--name", f"sweepflow-{job_id}", "--death-timeout", f"{self._connect_seconds:g}"]
        environment = worker_environment(place, self._most, {**os.environ, **self._environment})
        environment[PARENT] = str(os.getpid())
        try:
            with self._log(job_id).open("wb") as log:
                # A session of its own: Ctrl-C is for the sweep, which then ends its workers.
                self._started[job_id] = subprocess.Popen(
                    command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
                )
        except OSError as error:
            raise StartError("worker processes cannot be started", got=error) from error
        return job_id

    def held(self) -> list[Held]:
        return [
            Held(job_id, "running") for job_id, process in self._started.items() if process.poll() is None
        ]

    def ended(self, job_id: str) -> Ended | None:
        code = self._started[job_id].poll()
        return None if code is None else Ended(f"its processes ended with {code}", innocent=False, code=code)

    def last_words(self, job_id: str) -> str:
        return last_words(self._log(job_id))

    def about(self) -> str:
        return f"{self.workers_each} worker processes on this machine; their output: {self._logs}"

    def cancel(self, job_ids: Sequence[str]) -> None:
        processes = [self._started[job_id] for job_id in job_ids if self._started[job_id].poll() is None]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def close(self) -> None:
        self.cancel(list(self._started))

    def _log(self, job_id: str) -> Path:
        return self._logs / f"{self._name}-{job_id}.log"
