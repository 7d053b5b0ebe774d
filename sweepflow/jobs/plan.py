"""A callable and its configurations as jobs, before any job is called."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from hydra.utils import get_object
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from sweepflow.compose.overlaps import value_at
from sweepflow.errors import ConfigError, in_words
from sweepflow.jobs.call import Callee
from sweepflow.jobs.caller import caller
from sweepflow.jobs.carried import source_of
from sweepflow.jobs.expand import Composed, Composer
from sweepflow.jobs.identity import job_id, name_of, plain
from sweepflow.jobs.job import Job, Jobs
from sweepflow.jobs.source import validator
from sweepflow.schema.name import as_name, check_name
from sweepflow.schema.runner import default_store
from sweepflow.storage.store import Store


class JobPlan:
    """The calls that are to be made.

    Args:
        config: A configuration of a kind that `source.ALLOWED` lists.
        function: The callable.
        overrides: Overrides as given by the user.
        store: Directory of the records; the default store if it is not given.
        version: Version of the function, given by the user; the function's source counts if it is not given.
        name: Name of the sweep; made from the function and the overrides if it is not given.
        config_dir: A directory of the user's own groups.

    Attributes:
        overrides: Overrides as given by the user.
        callee: The callable, and the store of its jobs.
        source: Source of the callable.
        name: Name of the sweep.
        task_name: Name of the callable.
        caller: Line of the user's program that has asked for the jobs.
        composer: Makes configurations from overrides.
        jobs: Jobs that are known so far.

    Raises:
        ConfigError: for a function or overrides that cannot be used, and a name that cannot be a folder.
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
        if inspect.iscoroutinefunction(function):
            raise ConfigError(
                "a coroutine function is not called to its end",
                got=f"async def {name_of(function)}",
                do="give a function that runs it: lambda cfg: asyncio.run(f(cfg))",
            )
        if isinstance(overrides, (str, Mapping)) or not all(isinstance(text, str) for text in overrides):
            raise ConfigError(
                "overrides are a list of texts",
                got=f"{overrides!r} ({type(overrides).__name__})",
                allowed='["x=1,2", "optim=sgd"]',
            )
        self.overrides = list(overrides)
        self.callee = Callee(function, name_of(function), version, Store(Path(store or default_store())))
        self.task_name = self.callee.name.rsplit(".", 1)[-1].strip("<>")
        digest = hashlib.sha256("\n".join([self.callee.name, *overrides]).encode()).hexdigest()[:8]
        self.name = (
            f"{as_name(self.task_name, room=9)}-{digest}" if name is None else check_name(name, "name")
        )
        # Of this call, whatever else has the name: another configuration, function, process or time.
        call = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{uuid4().hex[:8]}"
        self._directory = self.callee.store.paths.jobs(self.name, call).absolute()
        self.caller = caller()
        self.jobs = Jobs()
        self.composer = Composer(config, config_dir)
        self.source = source_of(function)
        self._accept = validator(config)

    def add(self, overrides: Sequence[str], drawn: Sequence[str] = ()) -> list[Job]:
        """Append the jobs that overrides ask for to the existing jobs, and return them.

        Args:
            overrides: Overrides in Hydra's grammar.
            drawn: Overrides that a sweeper adds for these jobs.

        Raises:
            ConfigError: for overrides that cannot be composed.
        """
        return self.append(self.composer.expand(overrides, drawn))

    def append(self, composed: Iterable[Composed]) -> list[Job]:
        """Append the jobs of composed configurations to the existing jobs, and return them.

        Raises:
            ConfigError: for a configuration that the callable's model does not accept.
        """
        new = []
        for number, one in enumerate(composed, len(self.jobs)):
            cfg = _accepted(self._accept, one)
            config = plain(cfg)
            new.append(
                Job(
                    number=number,
                    overrides=one.overrides,
                    params=_as_got(one.params, cfg),
                    cfg=cfg,
                    config=config,
                    of_hydra=one.hydra,
                    task_name=self.task_name,
                    directory=str(self._directory / str(number)),
                    fingerprint=job_id(self.callee.name, self.source.digest, self.callee.version, config),
                )
            )
        self.jobs += new
        return new

    def check_targets(self) -> None:
        """Check that every object that the configurations name by `_target_` can be imported.

        Raises:
            ConfigError: for the first object that cannot be imported.
        """
        first: dict[str, Job] = {}
        for job in self.jobs:
            for target in _targets(job.config):
                first.setdefault(target, job)
        for target, one in first.items():
            try:
                get_object(target)
            except Exception as error:  # whatever importing a user's module may raise
                raise ConfigError(
                    f"_target_ cannot be imported: {in_words(error.__cause__ or error)}",
                    got=f"_target_: {target}" + "".join(f", in {text}" for text in one.overrides),
                    allowed="the dotted name of a function or a class",
                    do="mend the name, or install its module",
                ) from error


def _as_got(params: dict[str, Any], cfg: Any) -> dict[str, Any]:
    """Return the values that vary, as a pydantic model has converted them: 1 in a field of floats is 1.0."""
    if not isinstance(cfg, BaseModel):
        return params
    made = cfg.model_dump()
    found = {key: value_at(made, key) for key in params}
    one = bool | int | float | str
    return {
        key: found[key] if isinstance(found[key], one) and isinstance(given, one) else given
        for key, given in params.items()
    }


def _targets(config: Any) -> Iterator[str]:
    inner: Iterable[Any] = ()
    if isinstance(config, dict):
        target = config.get("_target_")
        if isinstance(target, str) and target != "???" and "${" not in target:
            yield target
        inner = config.values()
    elif isinstance(config, list):
        inner = config
    for item in inner:
        yield from _targets(item)


def _accepted(accept: Callable[[DictConfig, Sequence[str]], Any], one: Composed) -> Any:
    try:
        return accept(one.tree, one.overrides)
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
