"""Jobs that hold worker processes: SLURM jobs, or one process group of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sweepflow.errors import SweepflowError

REFUSED = 78
"""Exit code of a worker that must not run here: other versions, another store. EX_CONFIG of sysexits.h."""


class RunnerError(SweepflowError):
    """The workers of a sweep cannot be started, or cannot be kept."""


class StartError(RunnerError):
    """A job could not be started.

    Attributes:
        passes: Whether a later attempt may succeed, because the cluster's controller does not answer now.
    """

    passes = False


@dataclass(frozen=True)
class Held:
    """A job that holds, or will hold, workers.

    Attributes:
        id: Id of the job; the names of its workers contain it.
        state: Whether its processes do not run yet, run, or are being ended. A job whose processes are being
            ended may start again.
        reason: SLURM's reason why its processes do not run; empty if there is none.
        hopeless: Remedy, if waiting does not help against that reason.
    """

    id: str
    state: Literal["pending", "running", "ending"]
    reason: str = ""
    hopeless: str = ""


@dataclass(frozen=True)
class Ended:
    """The outcome of a job.

    Attributes:
        why: Description of the outcome.
        innocent: Whether the outcome is no evidence against the work: the job was cancelled, or its node
            failed.
        code: Exit code of the job, if it is known.
        late: Whether the time of the job was over.
    """

    why: str
    innocent: bool
    code: int | None = None
    late: bool = False


class Jobs(Protocol):
    """Starts and ends jobs that hold workers.

    Attributes:
        workers_each: Number of worker processes of a job.
    """

    workers_each: int

    def start(self, scheduler: str) -> str:
        """Start a job whose workers report to this scheduler.

        Returns:
            Id of the job.

        Raises:
            StartError: if the job cannot be started.
        """

    def held(self) -> list[Held] | None:
        """Return the jobs that have not ended, or None if that cannot be found out now."""

    def ended(self, job_id: str) -> Ended | None:
        """Return the outcome of a job, or None if it has not ended or its outcome cannot be found out."""

    def last_words(self, job_id: str) -> str:
        """Return the end of a job's output."""

    def about(self) -> str:
        """Describe what is started, for an error message, such as the script and the network interface."""

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs; never raises."""

    def close(self) -> None:
        """End all jobs that are left; never raises."""
