"""Sweeps of `hydra_multirun` with a Hydra sweeper: Hydra's own, or a plugin of the user."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Glob, Override
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, flag_override

from hydra_plugins.sweepflow_launcher import TARGET, FlowContext
from sweepflow.compose.axes import Axis, files_of, refuse_tags
from sweepflow.compose.grammar import key_of, quote_as_hydra, read, swept_values
from sweepflow.compose.overlaps import overlap, refuse_overlaps
from sweepflow.errors import ConfigError
from sweepflow.flows.dispatch.calls import Launch
from sweepflow.jobs.expand import Composed
from sweepflow.jobs.hydra_call import Batches, Returned
from sweepflow.jobs.hydra_loader import HydraLoader
from sweepflow.jobs.identity import qualified_name
from sweepflow.jobs.job import Job
from sweepflow.jobs.plan import JobPlan


def is_basic(sweeper: DictConfig) -> bool:
    """Return whether the sweeper is Hydra's own, which makes a grid."""
    return _target(sweeper) == _target(BasicSweeper)


def add_job(loader: HydraLoader, plan: JobPlan, master: DictConfig, overrides: Sequence[str]) -> Job:
    """Compose one more job, and add it to the plan."""
    loaded = loader.job(master, overrides, len(plan.jobs))
    (job,) = plan.append([Composed(loaded.overrides, loaded.params, loaded.tree, loaded.hydra)])
    job.directory = loaded.directory
    return job


def grid_of(loader: HydraLoader, master: DictConfig, arguments: Sequence[str]) -> list[list[list[str]]]:
    """Return batches of overrides, as Hydra's own sweeper makes them.

    Hydra's own sweeper loses the result of a cast, and the information which of two overrides is the later
    one. This function keeps both.

    Raises:
        ConfigError: if something cannot be swept.
    """
    basic = master.hydra.sweeper
    axes: dict[str, Axis] = {}
    with loader.composing():  # which looks for options of groups
        for text in [f"{key}={value}" for key, value in (basic.params or {}).items()] + list(arguments):
            axis = _axis(loader, master, read(text))
            element = axis.parsed.get_key_element()
            if any(overlap(axis.key, other.key) for name, other in axes.items() if name != element):
                axes.pop(element, None)
            axes[element] = axis
    refuse_overlaps(list(axes.values()))
    texts = [[f"{key}={quote_as_hydra(value)}" for value in axis.values] for key, axis in axes.items()]
    jobs = [list(job) for job in itertools.product(*texts)]
    return list(BasicSweeper.split_overrides_to_chunks(jobs, basic.max_batch_size))


def _axis(loader: HydraLoader, master: DictConfig, override: Override) -> Axis:
    """Convert an override to an axis whose values keep their quotes."""
    key, text = key_of(override), str(override.input_line)
    if override.is_interval_sweep():
        raise ConfigError(
            "Hydra cannot sweep this: an interval is a distribution, not a list of values",
            got=text,
            allowed="x=1,2,3, x=range(1,4), option=glob(*); with a sweeper that draws, x=interval(0,1)",
            do="list the values; or name a sweeper, hydra/sweeper=NAME, or take multirun and Random",
        )
    refuse_tags(override)
    chooses = loader.is_shared(master, override)
    pattern: Any = override.value()
    if isinstance(pattern, Glob):
        options = loader.loader.get_group_options(override.key_or_group, ObjectType.CONFIG)
        values: list[Any] = pattern.filter(options) if chooses else files_of(pattern, text)
    else:
        values = swept_values(override) if override.is_sweep_override() else [override._value]
    if not values:
        raise ConfigError(f"{key}: this sweep has no values", got=text, do=f"list them: {key}=FIRST,SECOND")
    return Axis(
        key, tuple(values), text, chooses, override, override.is_sweep_override(), override.is_delete()
    )


def sweep_grid(batches: list[list[Job]], launch: Launch) -> Batches:
    """Launch one batch after another; the first error is raised after its batch."""
    found = Batches()
    for batch in batches:
        launch(batch)
        found.append([Returned(job) for job in batch])
        for returned in found[-1]:
            _ = returned.return_value  # which raises what the job has raised
    found.return_value = found
    return found


def sweep_by(
    sweeper: Sweeper,
    arguments: list[str],
    loader: HydraLoader,
    plan: JobPlan,
    master: DictConfig,
    callbacks: Callbacks,
    task_function: Callable[[Any], Any],
    launch: Launch,
) -> Batches:
    """Let the user's own sweeper launch jobs of this flow."""
    found = Batches()

    def called(overrides: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        del first  # jobs are numbered as they come, so that none has another's directory
        jobs = [add_job(loader, plan, master, list(one)) for one in overrides]
        launch(jobs)
        found.append([Returned(job) for job in jobs])
        return found[-1]

    context: HydraContext = FlowContext(loader.loader, callbacks, called)
    sweeper.setup(hydra_context=context, task_function=task_function, config=master)
    found.return_value = sweeper.sweep(arguments)
    return found


def make_sweeper(master: DictConfig) -> Sweeper:
    """Create the configured sweeper.

    Raises:
        ConfigError: if it cannot be created, or is not a sweeper.
    """
    target = _target(master.hydra.sweeper)
    allowed = "an option of the group hydra/sweeper whose _target_ is a class with setup and sweep"
    try:
        sweeper: Any = instantiate(master.hydra.sweeper)
    except HydraException as error:
        raise ConfigError(
            f"the sweeper cannot be made: {' '.join(str(error).split())}",
            got=f"_target_: {target}",
            allowed=allowed,
            do="mend its configuration in the config store, or install what it needs",
        ) from error
    if not all(callable(getattr(sweeper, name, None)) for name in ("setup", "sweep")):
        raise ConfigError(
            "this is no sweeper",
            got=f"_target_: {target}",
            allowed=allowed,
            do="name another: hydra/sweeper=NAME",
        )
    made: Sweeper = sweeper
    return made


def check_launcher(master: DictConfig) -> None:
    """Refuse Hydra launchers other than the basic one, and replace the basic one with our own."""
    if _target(master.hydra.launcher) != _target(BasicLauncher):
        raise ConfigError(
            "jobs are called by Prefect flows, not by a launcher of Hydra's",
            got=f"hydra/launcher={master.hydra.runtime.choices.get('hydra/launcher')}",
            allowed="hydra/launcher=basic, which need not be said",
            do="leave it out; hydra_multirun(..., runner='dask') or runner='slurm' has workers call the jobs",
        )
    with flag_override(master, ["readonly", "struct"], False):
        master.hydra.launcher = {"_target_": TARGET}


def _target(of: Any) -> str:
    if isinstance(of, type):
        return qualified_name(of)
    return str(OmegaConf.select(of, "_target_")) if isinstance(of, DictConfig) else repr(of)
