"""A callable and its configurations as jobs, before any is called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from sweepflow.errors import ConfigError
from sweepflow.jobs.call import Callee
from sweepflow.jobs.expand import Composed, Composer
from sweepflow.jobs.identity import job_id, name_of, plain, source_of
from sweepflow.jobs.job import Job, Jobs
from sweepflow.jobs.source import validator
from sweepflow.schema.runner import default_store
from sweepflow.store.store import Store


class Plan:
    """What is to be called.

    Args:
        config: As `source.ALLOWED` says.
        function: The callable.
        overrides: As they were given.
        store: Directory where records are kept; the usual one where it is not given.
        version: Of the function, as the user says; its source counts where it is not given.
        name: Of the sweep; from the function and the overrides where it is not given.
        config_dir: A directory of the user's own groups.

    Attributes:
        overrides: As they were given.
        callee: What is called, and where its jobs are kept.
        name: Of the sweep.
        task_name: Name of the callable.
        composer: Makes configurations of overrides.
        jobs: As far as they are known.

    Raises:
        ConfigError: for what cannot be called.
    """

    def __init__(
        self,
        config: Any,
        function: Callable[[Any], Any],
        overrides: Sequence[str],
        store: str | Path | None = None,
        *,
        version: int | None = None,
        name: str | None = None,
        config_dir: str | Path | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigError(
                "a job needs something to call",
                got=f"{function!r} ({type(function).__name__})",
                allowed="a function of one argument, the configuration",
                do="give the function itself, not what it returns",
            )
        self.overrides = list(overrides)
        self.callee = Callee(function, name_of(function), version, Store(Path(store or default_store())))
        self.task_name = self.callee.name.rsplit(".", 1)[-1].strip("<>")
        digest = hashlib.sha256("\n".join([self.callee.name, *overrides]).encode()).hexdigest()[:8]
        self.name = name or f"{self.task_name}-{digest}"
        self.jobs = Jobs()
        self.composer = Composer(config, config_dir)
        self._source = source_of(function)
        self._accept = validator(config)

    def add(self, overrides: Sequence[str], drawn: Sequence[str] = ()) -> list[Job]:
        """The jobs that overrides ask for, after those that there are.

        Args:
            overrides: In Hydra's grammar.
            drawn: What a sweeper adds to them for these jobs.

        Raises:
            ConfigError: for what cannot be composed.
        """
        return self.append(self.composer.expand(overrides, drawn))

    def append(self, composed: Iterable[Composed]) -> list[Job]:
        """The jobs of configurations that are composed, after those that there are.

        Raises:
            ConfigError: for a configuration that the callable's model does not take.
        """
        directory = self.callee.store.paths.sweep(self.name).absolute() / "jobs"
        new = []
        for number, one in enumerate(composed, len(self.jobs)):
            cfg = _accepted(self._accept, one)
            new.append(
                Job(
                    number=number,
                    overrides=one.overrides,
                    params=one.params,
                    cfg=cfg,
                    of_hydra=one.hydra,
                    task_name=self.task_name,
                    working_dir=str(directory / str(number)),
                    fingerprint=job_id(self.callee.name, self._source, self.callee.version, plain(cfg)),
                )
            )
        self.jobs += new
        return new


def _accepted(accept: Callable[[DictConfig], Any], one: Composed) -> Any:
    try:
        return accept(one.tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            got=" ".join(one.overrides) or str(one.tree),
            do="give it a value that its model takes",
        ) from error
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"the configuration is not whole: {str(error).splitlines()[0]}",
            got=" ".join(one.overrides) or str(one.tree),
            do="give the value that is missing",
        ) from error
