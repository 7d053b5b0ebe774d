"""`hydra_run`, `hydra_multirun` and `launch` as hydra-zen's users know them, as Prefect flows of jobs.

Only the import line changes. Configurations are composed, callables are called, and jobs are returned as in
hydra-zen.
"""

from __future__ import annotations

import sys
from collections import UserList
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sweepflow.compose.grammar import quote
from sweepflow.errors import ConfigError
from sweepflow.flows.dispatch.calls import Launch, jobs_flow
from sweepflow.flows.dispatch.hydra_sweepers import (
    add_job,
    check_launcher,
    grid_of,
    is_basic,
    make_sweeper,
    sweep_by,
    sweep_grid,
)
from sweepflow.flows.function import how_to_call
from sweepflow.jobs.hydra_call import AsHydra, Batches, Returned
from sweepflow.jobs.hydra_loader import HydraLoader, hydra_loader
from sweepflow.jobs.plan import JobPlan
from sweepflow.schema.name import check_name
from sweepflow.schema.runner import RunnerConfig, default_store

NOT_GIVEN: Any = object()
NEWEST = "1.3"
"""Hydra version whose composition rules apply if the user does not give a version."""


def hydra_run(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] | None = None,
    config_dir: str | Path | None = None,
    *,
    job_name: str | None = None,
    version_base: str | None = NOT_GIVEN,
    runner: str | Sequence[str] | RunnerConfig = "local",
    store: str | Path | None = None,
) -> Returned:
    """Call a function once as a Prefect flow, like hydra-zen's `hydra_run`.

    >>> from sweepflow import hydra_run
    >>> hydra_run({"x": 1}, lambda cfg: 2 * cfg.x, ["x=3"]).return_value
    6

    Args:
        config: A dataclass, a mapping, an OmegaConf tree, or a configuration made by hydra-zen.
        task_function: Function to call with the composed configuration.
        overrides: Overrides in Hydra's grammar, including overrides of Hydra's own configuration
            (`hydra.run.dir=...`).
        config_dir: A directory of configuration groups.
        job_name: Name of the function in Hydra; by default its own name.
        version_base: As in Hydra. If it is not given, or is older than 1.2, the function runs in the job's
            directory.
        runner: Runner that calls the function, as in `multirun`.
        store: Directory of the store, as in `multirun`.

    Returns:
        Hydra's return object of a job, with the job itself.

    Raises:
        ConfigError: before the call, if something cannot be composed, or if overrides sweep.
        Exception: any exception that the function raises.
    """
    how = how_to_call("raise", False, runner, None)
    plan = _plan(config, task_function, overrides, job_name, store)
    with _loader(plan, config, config_dir, version_base) as loader:
        master = loader.master(plan.overrides, RunMode.RUN)
        callbacks = _wrap(plan, master)
        loader.take_directory(master)
        jobs = [add_job(loader, plan, master, list(master.hydra.overrides.task))]

        def drive(launch: Launch) -> Returned:
            callbacks.on_run_start(config=master, config_name=loader.name)
            launch(jobs)
            returned = Returned(jobs[0])
            callbacks.on_run_end(config=master, config_name=loader.name, job_return=returned)
            return returned

        return jobs_flow("hydra_run", plan, how, drive)


def hydra_multirun(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] | None = None,
    config_dir: str | Path | None = None,
    *,
    job_name: str | None = None,
    version_base: str | None = NOT_GIVEN,
    runner: str | Sequence[str] | RunnerConfig = "local",
    store: str | Path | None = None,
) -> Batches:
    """Call a function for each job that a Hydra sweeper asks for, as a Prefect flow, like hydra-zen's
    `hydra_multirun`.

    >>> from sweepflow import hydra_multirun
    >>> (jobs,) = hydra_multirun({"x": 1}, lambda cfg: 2 * cfg.x, ["x=3,4"])
    >>> [job.return_value for job in jobs]
    [6, 8]

    The arguments are those of `hydra_run`. Overrides may sweep, and may choose a sweeper:
    `hydra/sweeper=NAME`.

    Returns:
        The batches of jobs, as in `[job.return_value for job in batches[0]]`. Their `return_value` is the
        value that the sweeper's `sweep` has returned.

    Raises:
        ConfigError: before any call, if something cannot be composed, if the sweeper cannot be created, or if
            a launcher is chosen. If the sweeper asks for a job that cannot be composed, the error is raised
            then.
        Exception: the first exception that the function raises, after its batch; any exception that the
            sweeper raises.
    """
    how = how_to_call("keep", False, runner, None)
    plan = _plan(config, task_function, overrides, job_name, store)
    with _loader(plan, config, config_dir, version_base) as loader:
        master = loader.master(plan.overrides, RunMode.MULTIRUN)
        check_launcher(master)
        callbacks = _wrap(plan, master)
        loader.take_directory(master)
        arguments = [str(text) for text in master.hydra.overrides.task]
        if is_basic(master.hydra.sweeper):
            batches = [
                [add_job(loader, plan, master, overrides) for overrides in batch]
                for batch in grid_of(loader, master, arguments)
            ]
            sweep = partial(sweep_grid, batches)
        else:
            sweep = partial(
                sweep_by, make_sweeper(master), arguments, loader, plan, master, callbacks, task_function
            )

        def drive(launch: Launch) -> Batches:
            callbacks.on_multirun_start(config=master, config_name=loader.name)
            returned = sweep(launch)
            callbacks.on_multirun_end(config=master, config_name=loader.name)
            return returned

        return jobs_flow("hydra_multirun", plan, how, drive)


def launch(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    multirun: bool = False,
    version_base: str | None = NOT_GIVEN,
    to_dictconfig: bool = False,
    config_name: str = "",
    job_name: str | None = None,
    with_log_configuration: bool = True,
    execution_whitelist: Any = None,
    **override_kwargs: Any,
) -> Any:
    """`hydra_run`, or `hydra_multirun`, with the signature of hydra-zen's `launch`.

    >>> from sweepflow import launch
    >>> launch({"x": 1, "y": 2}, lambda cfg: cfg.x + cfg.y, y=40).return_value
    41

    Args:
        config, task_function, version_base, job_name: As in `hydra_run`.
        overrides: Overrides in Hydra's grammar, or values by key. In the second case, `hydra_zen.multirun` is
            swept, and `hydra_zen.hydra_list` is one value.
        multirun: Whether overrides may sweep.
        to_dictconfig: Whether a dataclass becomes a tree without types.
        config_name, with_log_configuration: Not used, because nothing stays in Hydra's config store, and
            logging is left to Prefect.
        execution_whitelist: Not used by the installed version of Hydra.
        **override_kwargs: More overrides, by key.

    Returns:
        Hydra's return object of the job. With `multirun`, the value that the sweeper returns, which is a list
        of batches unless the user has chosen another sweeper.

    Raises:
        ConfigError: as `hydra_run` and `hydra_multirun` do.
    """
    del config_name, with_log_configuration
    if execution_whitelist is not None:
        raise ConfigError(
            "execution_whitelist needs a newer Hydra",
            got=f"execution_whitelist={execution_whitelist!r}, with hydra-core 1.3",
            do="leave it out",
        )
    if to_dictconfig and is_dataclass(config):
        config = OmegaConf.create(OmegaConf.to_container(OmegaConf.structured(config)))
    texts = _texts(overrides) if isinstance(overrides, Mapping) else list(overrides or ())
    given: dict[str, Any] = {"job_name": job_name, "version_base": version_base}
    texts += _texts(override_kwargs)
    if multirun:
        return hydra_multirun(config, task_function, texts, **given).return_value
    return hydra_run(config, task_function, texts, **given)


def _texts(values: Mapping[str, Any]) -> list[str]:
    """Convert values by key to overrides in Hydra's grammar; text is not quoted, so that `"1,2"` sweeps."""
    # They are hydra-zen's own: where it is not imported, no value can be of these types.
    zen = sys.modules.get("hydra_zen")
    swept = zen.multirun if zen else ()
    allowed = (int, float, str, dict, *((zen.multirun, zen.hydra_list) if zen else ()))
    texts = []
    for key, value in values.items():
        if value is not None and not isinstance(value, allowed):
            raise ConfigError(
                f"{key}: this cannot be made an override",
                got=f"{value!r} ({type(value).__name__})",
                allowed="a number, text, None, a mapping, hydra_zen.multirun(...), hydra_zen.hydra_list(...)",
                do="say whether it is swept: multirun([1, 2]), or one value: hydra_list([1, 2])",
            )
        texts.append(f"{key}={','.join(map(_text, value if isinstance(value, swept) else [value]))}")
    return texts


def _text(value: Any) -> str:
    """Convert a value to Hydra's grammar.

    Text is not quoted, nor is a value that only a type of the configuration knows.
    """
    plain = list(value) if isinstance(value, UserList) else value
    has_words = plain is None or isinstance(plain, bool | int | float | list | dict)
    return quote(plain) if has_words else str(plain)


def _plan(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] | None,
    job_name: str | None,
    store: str | Path | None,
) -> JobPlan:
    # As the working directory is now: jobs may run in others.
    root = Path(store or default_store()).expanduser().absolute()
    plan = JobPlan(config, task_function, list(overrides or ()), root)
    if job_name is not None:
        plan.task_name = check_name(job_name, "job_name")
    return plan


def _loader(
    plan: JobPlan, config: Any, config_dir: str | Path | None, version_base: str | None
) -> AbstractContextManager[HydraLoader]:
    given = version_base is not NOT_GIVEN
    base = version_base if given else NEWEST
    older = not given or (base is not None and tuple(map(int, base.split("."))) < (1, 2))
    return hydra_loader(config, plan.task_name, config_dir=config_dir, version_base=base, chdir=older)


def _wrap(plan: JobPlan, master: DictConfig) -> Callbacks:
    """Make the plan call jobs as Hydra calls them, and return Hydra's callbacks."""
    callbacks = Callbacks(master)
    plan.callee = replace(plan.callee, function=AsHydra(plan.callee.function, callbacks))
    return callbacks
