"""Runners of batches, and the place of the results; never part of a fingerprint."""

from __future__ import annotations

import os
import re
import shlex
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from sweepflow.schema.fields import Config

Word = Annotated[str, Field(pattern=r"^[^\s'\"]+$")]
"""Word that needs no quotes in a `#SBATCH` line."""


def default_store() -> str:
    """Directory of the store if none is given."""
    return os.environ.get("SWEEPFLOW_STORE", "sweepflow-data")


class _Runner(Config):
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Trials per batch; `auto` divides a group among the workers, and takes fewer trials where the memory
    figures of the compiled program require it."""
    memory_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the free memory that one batch may take; a batch that needs more is halved."""
    checkpoint_seconds: PositiveFloat = 60.0
    """Minimum time between two checkpoints of a batch; never so short that writing them takes 2 % of it."""
    concurrency_limit: Word | None = None
    """Name of a global concurrency limit of Prefect. Every batch takes one slot of it while it runs, so that
    sweeps share devices and do not compete for them."""


class LocalRunner(_Runner):
    """Threads of this process, on every core or accelerator that it sees."""

    kind: Literal["local"] = "local"
    workers: PositiveInt | Literal["auto"] = "auto"
    """Batches in progress at once: some run, each on its own devices, while others compile. `auto` takes one
    for every two cores, at least 2 and at most 8."""


class _ClusterRunner(_Runner):
    replacements: NonNegativeInt = 50
    """Number of lost jobs, or lost worker processes of this machine, that one sweep replaces; one more loss
    ends the sweep."""
    connect_seconds: PositiveFloat = 120.0
    """Longest time that a worker whose process has started may take to report for work."""


class DaskRunner(_ClusterRunner):
    """Worker processes on this machine, one single-threaded process a core, under a Dask scheduler."""

    kind: Literal["dask"] = "dask"
    workers: PositiveInt | Literal["auto"] = "auto"
    """Worker processes; `auto` takes one for every core, or one for every GPU if there are GPUs."""


class SlurmRunner(_ClusterRunner):
    """Worker processes in SLURM jobs, under a Dask scheduler in this process.

    A job has one worker for each of its GPUs. Without GPUs, it has one single-threaded worker for each of its
    cores.
    """

    kind: Literal["slurm"] = "slurm"
    partition: Word | None = None
    """SLURM's option of this name; SLURM's own default if it is not given."""
    account: Word | None = None
    """SLURM's option of this name; SLURM's own default if it is not given."""
    qos: Word | None = None
    """SLURM's option of this name; SLURM's own default if it is not given."""
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d+(:\d{1,2}){0,2}$")] = "01:00:00"
    """Walltime of a job, as SLURM writes it: minutes, hours:minutes:seconds, or days-hours:minutes:seconds.
    Longer batches are checkpointed and continue in the next job."""
    cores: PositiveInt = 1
    """CPU cores of a job."""
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")] = "4GB"
    """Memory of a job, such as `500MB` or `16GB`."""
    gpus: NonNegativeInt = 0
    """GPUs of a job, requested as `--gres=gpu:N`."""
    gres: Word | None = None
    """Generic resources of a job, in place of `gpus`, to request GPUs of a type or further resources. In
    `gpu:a100:2` the number is used as `gpus`."""
    constraint: Word | None = None
    """SLURM's option of this name; SLURM's own default if it is not given."""
    jobs: PositiveInt = 1
    """Number of jobs at once, as long as there is work for them."""
    minimum: NonNegativeInt | None = None
    """Smallest number of jobs, with `maximum`, in place of `jobs`: the number of jobs then follows the amount
    of work. A surplus job ends after half a minute without work."""
    maximum: PositiveInt | None = None
    """Largest number of jobs, with `minimum`."""
    interface: Word | None = None
    """Network interface of scheduler and workers, such as `ib0`; by default that of the default route."""
    directives: tuple[str, ...] = ()
    """Further `#SBATCH` lines, each as what stands behind `#SBATCH`, such as `--exclusive`."""
    prologue: tuple[str, ...] = ()
    """Shell lines that run before the worker starts: modules, a virtual environment, a container's set-up."""
    python: str | None = None
    """Python command on the compute nodes, as shell words, such as `apptainer exec image.sif python`; the
    path of the current Python if it is not given."""
    logs: str | None = None
    """Directory of the jobs' output, as compute nodes see it; `logs` in the store if it is not given."""
    scratch: str | None = None
    """Node-local directory of the workers, such as `/scratch/$USER`; the node's TMPDIR if it is not given."""
    leave_seconds: PositiveFloat | None = None
    """Time before the end of the walltime at which a worker takes no more work and checkpoints its batches.
    If it is not given: a minute, or a tenth of a walltime under ten minutes."""
    submit_seconds: PositiveFloat = 300.0
    """Time for which `sbatch` is retried while SLURM's controller does not answer."""
    hopeless_seconds: PositiveFloat = 60.0
    """Time that jobs may be pending for a reason that waiting does not solve, such as a limit of the account.
    Jobs wait for free resources without a time limit."""

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
        """Maximum number of jobs at once."""
        return self.maximum or self.jobs

    @property
    def fewest_jobs(self) -> int:
        """Number of jobs that are kept if there is work for fewer jobs."""
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
        """Time during which a worker takes work, from the start of its job."""
        return self.walltime_seconds - (self.leave_seconds or min(60.0, 0.1 * self.walltime_seconds))


RunnerConfig = Annotated[LocalRunner | DaskRunner | SlurmRunner, Field(discriminator="kind")]
