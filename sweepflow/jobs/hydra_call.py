"""Jobs that are called as Hydra calls them, and returned as Hydra returns them."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn, JobStatus, env_override
from omegaconf import DictConfig, OmegaConf, open_dict

from sweepflow.errors import ConfigError
from sweepflow.jobs.call import CALLED
from sweepflow.jobs.hydra_loader import tell
from sweepflow.jobs.identity import plain
from sweepflow.jobs.job import Job

_changed: list[int] = []
"""Threads whose jobs have changed the directory or the environment of the process."""


class Returned(JobReturn):
    """The object that Hydra returns for a job, with the job itself.

    Attributes:
        job: The job, with its traceback, its duration, and its record's id.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.overrides = list(job.overrides)
        self.cfg = job.cfg
        # As Hydra has it: where the callable has run.
        self.working_dir = job.working_dir if job.of_hydra.hydra.job.chdir else os.getcwd()
        self.task_name = job.task_name
        self.status = JobStatus.COMPLETED if job.error is None else JobStatus.FAILED
        self._return_value = job.value if job.error is None else job.error

    @property
    def hydra_cfg(self) -> DictConfig:  # type: ignore[override]
        """Hydra's configuration of this job, under the key `hydra`."""
        own = self.job.hydra_cfg
        tell(own, self.job.overrides, self.job.number, self.job.working_dir)
        return own

    def __repr__(self) -> str:
        return f"Returned({self.job!r})"


class Batches(list[list[JobReturn]]):
    """The batches of jobs that a sweeper has launched; one batch if the user gives no sweeper.

    Attributes:
        return_value: Return value of the sweeper's `sweep`; the batches if Hydra's own sweeper was used.
    """

    return_value: Any = None

    @property
    def jobs(self) -> list[JobReturn]:
        """All jobs, in the order in which they were launched."""
        return [job for batch in self for job in batch]


@dataclass(frozen=True)
class AsHydra:
    """A callable that is called as Hydra would call it: in the same place, with the same configuration.

    Attributes:
        function: The callable.
        callbacks: Hydra's callbacks, as configured.
    """

    function: Callable[[Any], Any]
    callbacks: Callbacks

    def __call__(self, cfg: Any) -> Any:
        job = CALLED.get()
        own, directory = job.of_hydra, Path(job.working_dir)
        tree = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(plain(cfg))
        # In place: jobs that differ in values only share it, and are called one after the other.
        tell(own, job.overrides, job.number, job.working_dir)
        if own.hydra.output_subdir is not None:
            _save(tree, job, directory / own.hydra.output_subdir)
        within = chdir(directory) if own.hydra.job.chdir else nullcontext()
        of_the_process = own.hydra.job.chdir or own.hydra.job.env_set
        with _alone() if of_the_process else nullcontext(), env_override(own.hydra.job.env_set), within:
            if not self.callbacks.callbacks:
                return self.function(cfg)
            whole = copy.deepcopy(tree)
            with open_dict(whole):
                whole["hydra"] = own.hydra
            self.callbacks.on_job_start(whole, task_function=self.function)
            try:
                job.value = self.function(cfg)
            except Exception as error:
                job.error = error
                raise
            finally:
                self.callbacks.on_job_end(whole, job_return=Returned(job))
            return job.value


@contextmanager
def _alone() -> Iterator[None]:
    """Refuse to change the directory or environment of the process while a job in another thread has changed
    it.

    Raises:
        ConfigError: if a job in another thread has done so.
    """
    this = threading.get_ident()
    if others := set(_changed) - {this}:
        raise ConfigError(
            "two jobs in threads of one process cannot each have a working directory, or an environment",
            got=f"a job in this thread, and {len(others)} in others",
            allowed="jobs that stay where they are, or one thread",
            do="give version_base='1.2' or newer, or hydra.job.chdir=false, and no hydra.job.env_set",
        )
    _changed.append(this)
    try:
        yield
    finally:
        _changed.remove(this)


def _save(tree: DictConfig, job: Job, directory: Path) -> None:
    """Write the files that Hydra leaves with a job's outputs."""
    directory.mkdir(parents=True, exist_ok=True)
    overrides = OmegaConf.create(list(job.overrides))
    for name, content in {"config": tree, "hydra": job.of_hydra, "overrides": overrides}.items():
        (directory / f"{name}.yaml").write_text(OmegaConf.to_yaml(content))
