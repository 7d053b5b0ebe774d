"""Where and how batches run, and where results are kept; never part of a fingerprint."""

from __future__ import annotations

import os
import re
import shlex
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from sweepflow.schema.fields import Config

Word = Annotated[str, Field(pattern=r"^[^\s'\"]+$")]
"""What stands in a `#SBATCH` line without quotes."""


def default_store() -> str:
    """The store's directory where none is given."""
    return os.environ.get("SWEEPFLOW_STORE", "sweepflow-data")


class _Runner(Config):
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Trials a batch; `auto` shares a group out among the workers, and takes less where the compiled
    program's memory figures ask for it."""
    memory_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the free memory that one batch may take; a batch that wants more is halved."""
    checkpoint_seconds: PositiveFloat = 60.0
    """Least time between two checkpoints of a batch; never so short that writing them takes 2 % of it."""
    concurrency_limit: Word | None = None
    """A global concurrency limit of Prefect's of which every batch takes one slot while it runs, so that
    sweeps share devices instead of fighting for them."""


class LocalRunner(_Runner):
    """Threads of this process, on every core or accelerator that it sees."""

    kind: Literal["local"] = "local"
    workers: PositiveInt | Literal["auto"] = "auto"
    """Batches in hand at once: some run, each on devices of its own, while others compile. `auto` takes one
    for every two cores, at least 2 and at most 8."""


class _ClusterRunner(_Runner):
    replacements: NonNegativeInt = 50
    """Lost jobs, or worker processes of this machine, that are replaced in one sweep; one more ends it."""
    connect_seconds: PositiveFloat = 120.0
    """Longest time that a worker whose process has started may take to report for work."""


class DaskRunner(_ClusterRunner):
    """Worker processes on this machine, one single-threaded process a core, under a Dask scheduler."""

    kind: Literal["dask"] = "dask"
    workers: PositiveInt | Literal["auto"] = "auto"
    """Worker processes; `auto` takes one for every core, or for every GPU where there are any."""


class SlurmRunner(_ClusterRunner):
    """Worker processes in SLURM jobs, under a Dask scheduler in this process.

    A job has one worker for each of its GPUs, or one single-threaded worker for each of its cores where it
    has none.
    """

    kind: Literal["slurm"] = "slurm"
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d+(:\d{1,2}){0,2}$")] = "01:00:00"
    """Of a job, as SLURM writes it: minutes, hours:minutes:seconds, or days-hours:minutes:seconds. Longer
    batches are checkpointed and go on in the next job."""
    cores: PositiveInt = 1
    """Of a job."""
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")] = "4GB"
    """Of a job."""
    gpus: NonNegativeInt = 0
    """Of a job, asked for as `--gres=gpu:N`."""
    gres: Word | None = None
    """Instead, where the GPUs need a type, or there is more to ask for: `gpu:a100:2`, of which the number is
    taken as `gpus`."""
    constraint: Word | None = None
    jobs: PositiveInt = 1
    """Jobs, as long as there is work for them."""
    minimum: NonNegativeInt | None = None
    maximum: PositiveInt | None = None
    """With these two instead of `jobs`, as many as there is work for."""
    interface: Word | None = None
    """Network interface of scheduler and workers, such as `ib0`; else the one of the default route."""
    directives: tuple[str, ...] = ()
    """Further `#SBATCH` lines, such as `--exclusive`."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts: modules, a virtual environment, a container's set-up."""
    python: str | None = None
    """Python on the compute nodes, in words of shell, such as `apptainer exec image.sif python`; this one's
    path where it is not given."""
    logs: str | None = None
    """Directory of the jobs' output, as compute nodes see it; `logs` in the store where it is not given."""
    scratch: str | None = None
    """Node-local directory of the workers, such as `/scratch/$USER`; the node's TMPDIR where not given."""
    leave_seconds: PositiveFloat | None = None
    """A worker takes no more work, and checkpoints what it has, this long before the walltime; a minute, or a
    tenth of a walltime under ten minutes, where it is not given."""
    submit_seconds: PositiveFloat = 300.0
    """How long `sbatch` is tried again while SLURM's controller does not answer."""
    hopeless_seconds: PositiveFloat = 60.0
    """How long jobs may be pending for a reason that does not pass by waiting, such as a limit of the
    account. For free resources they wait as long as it takes."""

    @field_validator("walltime", mode="before")
    @classmethod
    def _may_be_minutes(cls, walltime: object) -> object:
        # Hydra reads `walltime=30` as a number.
        return str(walltime) if type(walltime) is int else walltime

    @field_validator("directives")
    @classmethod
    def _are_options(cls, directives: tuple[str, ...]) -> tuple[str, ...]:
        for line in directives:
            if not re.fullmatch(r"-[^\n]*", line):
                raise ValueError("a directive is what stands behind #SBATCH, such as --exclusive")
        return directives

    @field_validator("python")
    @classmethod
    def _is_a_command(cls, python: str | None) -> str | None:
        if python is not None:
            try:
                words = [] if "\n" in python else shlex.split(python)
            except ValueError:  # a quote without its other half
                words = []
            if not words:
                raise ValueError("python is one line of shell; quote a path with spaces")
        return python

    @model_validator(mode="after")
    def _is_whole(self) -> SlurmRunner:
        if (self.minimum is None) != (self.maximum is None):
            raise ValueError("minimum and maximum are given together, or not at all")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is at most maximum")
        if self.gres is not None and self.gpus:
            raise ValueError("give gpus or gres, not both")
        if self.walltime_seconds < 60:
            raise ValueError("a walltime is at least a minute")
        if self.leave_seconds is not None and self.leave_seconds > self.walltime_seconds / 2:
            raise ValueError("leave_seconds is at most half of walltime")
        return self

    @property
    def gpus_each(self) -> int:
        """GPUs of a job."""
        asked = [part.split("(")[0].split(":") for part in (self.gres or "").split(",")]
        counts = [int(words[-1]) if words[-1].isdigit() else 1 for words in asked if words[0] == "gpu"]
        return sum(counts) or self.gpus

    @property
    def workers_each(self) -> int:
        """Worker processes of a job."""
        return self.gpus_each or self.cores

    @property
    def most_jobs(self) -> int:
        """Jobs at once."""
        return self.maximum or self.jobs

    @property
    def fewest_jobs(self) -> int:
        """Jobs that are kept where there is less work than that."""
        return self.minimum or 0

    @property
    def walltime_seconds(self) -> int:
        """The walltime in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        parts = [int(part) for part in clock.split(":")]
        if days:  # D-H, D-H:M, D-H:M:S
            hours, minutes, seconds = [*parts, 0, 0][:3]
        elif len(parts) < 3:  # M, M:S
            hours, (minutes, seconds) = 0, [*parts, 0][:2]
        else:
            hours, minutes, seconds = parts
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

    @property
    def working_seconds(self) -> float:
        """How long a worker takes work, from the start of its job."""
        return self.walltime_seconds - (self.leave_seconds or min(60.0, 0.1 * self.walltime_seconds))


RunnerConfig = Annotated[LocalRunner | DaskRunner | SlurmRunner, Field(discriminator="kind")]
