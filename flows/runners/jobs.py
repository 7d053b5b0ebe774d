"""What holds worker processes: SLURM jobs, or one process group of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sweepflow.errors import SweepflowError

REFUSED = 78
"""Exit code of a worker that must not run here: other versions, another store. EX_CONFIG of sysexits.h."""


class RunnerError(SweepflowError):
    """The workers of a sweep cannot be had, or kept."""


class StartError(RunnerError):
    """A job could not be started.

    Attributes:
        passes: Whether it may work in a while: the cluster's controller does not answer.
    """

    passes = False


@dataclass(frozen=True)
class Held:
    """A job that holds, or will hold, workers.

    Attributes:
        id: Its own; a worker's name has it.
        state: Whether its processes run yet, or are being ended: it may be to start again.
        reason: Why they do not, in SLURM's word; empty where there is none.
        hopeless: What is to be done, where that is a reason that does not pass by waiting.
    """

    id: str
    state: Literal["pending", "running", "ending"]
    reason: str = ""
    hopeless: str = ""


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        why: In words.
        innocent: Whether that says nothing against the work: it was cancelled, or its node failed.
        code: Its exit code, where that is known.
        late: Whether its time was over.
    """

    why: str
    innocent: bool
    code: int | None = None
    late: bool = False


class Jobs(Protocol):
    """Starts and ends jobs that hold workers.

    Attributes:
        workers_each: Worker processes of a job.
    """

    workers_each: int

    def start(self, scheduler: str) -> str:
        """Start a job whose workers report to this scheduler.

        Returns:
            Its id.

        Raises:
            StartError: where that cannot be.
        """

    def held(self) -> list[Held] | None:
        """Those that have not ended, or None where nobody can say now."""

    def ended(self, job_id: str) -> Ended | None:
        """How a job ended, or None where it has not, or nobody can say."""

    def last_words(self, job_id: str) -> str:
        """The end of a job's output."""

    def about(self) -> str:
        """What is started, for an error: the script and the network interface, say."""

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs; never raises."""

    def close(self) -> None:
        """End all that are left; never raises."""
