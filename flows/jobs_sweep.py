"""Any Python callable as a Prefect flow of jobs: `run` calls it once, `multirun` once for each override."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from sweepflow.compose.axes import Axis
from sweepflow.compose.overlaps import refuse_parts_of_drawn
from sweepflow.compose.place import compose_runner
from sweepflow.engine.devices import worker_count
from sweepflow.errors import ConfigError, in_words
from sweepflow.flows.jobs_flow import How, Launch, OnError, jobs_flow
from sweepflow.jobs.caller import Caller
from sweepflow.jobs.job import Goal, Job, Jobs
from sweepflow.jobs.plan import Plan
from sweepflow.jobs.sweepers import Sweeper
from sweepflow.report.numbers import counted
from sweepflow.schema.runner import LocalRunner, RunnerConfig
from sweepflow.space import categorical


class NoScoreWarning(UserWarning):
    """A sweeper is told that a job has failed, because what it returned is no score."""


def run(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] = (),
    *,
    on_error: OnError = "raise",
    cache: bool = False,
    runner: str | Sequence[str] | RunnerConfig = "local",
    version: int | None = None,
    store: str | Path | None = None,
    name: str | None = None,
    config_dir: str | Path | None = None,
) -> Job:
    """Call a function with one composed configuration, as a Prefect flow.

    Arguments are those of `multirun`; overrides may not sweep.

    Returns:
        The job, with what the function returned.

    Raises:
        ConfigError: before the call, for what cannot be composed, and for overrides that sweep.
        Exception: what the function raises, unless `on_error` is `keep`.
    """
    how = how_to_call(on_error, cache, runner, config_dir)
    plan = Plan(config, task_function, overrides, store, version=version, name=name, config_dir=config_dir)
    plan.add(overrides)
    if len(plan.jobs) != 1:
        raise ConfigError(
            "run calls the function once",
            got=f"{' '.join(overrides)}, which is {counted(len(plan.jobs), 'job')}",
            allowed="one value for each key",
            do="use multirun for all of them",
        )
    _check_targets(plan, how)
    jobs_flow("run", plan, how, lambda launch: launch(plan.jobs))
    return plan.jobs[0]


def multirun(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] = (),
    *,
    sweeper: Sweeper | None = None,
    score: Callable[[Any], float] = float,
    goal: Goal = "minimize",
    at_once: int | None = None,
    vectorize: bool = False,
    on_error: OnError = "keep",
    max_failures: int = 0,
    cache: bool = False,
    runner: str | Sequence[str] | RunnerConfig = "local",
    version: int | None = None,
    store: str | Path | None = None,
    name: str | None = None,
    config_dir: str | Path | None = None,
) -> Jobs:
    """Call a function with every configuration that the overrides ask for, as a Prefect flow.

    Args:
        config: A dataclass, a pydantic model, a mapping, an OmegaConf tree, or what hydra-zen makes.
        task_function: Called with each composed configuration: a pydantic model where that was given, an
            OmegaConf tree else.
        overrides: In Hydra's grammar: `x=1,2`, `x=range(0,5)`, `optim=sgd,adam`; with a sweeper, also
            `x=interval(0,1)` and `x=choice(a,b)`.
        sweeper: Says what is called next; without one, all that the overrides ask for is.
        score: What the sweeper is told, from a return value.
        goal: Whether a small or a large score is good.
        at_once: Jobs that a sweeper is asked for at a time; it is told of all of them before it is asked
            again. Where it is not given, as many as the runner has workers, and one in this process.
        vectorize: Whether jobs that differ in numbers only are one call of `jax.vmap`, for a pure function of
            JAX; `batched` of what is returned says which keys were. Values may differ from those of calls one
            by one in their last bits.
        on_error: `keep` lets the other jobs go on where one raises; `raise` ends the sweep.
        max_failures: Jobs in a row that may fail alike, with the same words but for numbers and paths, before
            the sweep is ended; 0 for any number.
        cache: Whether a configuration that the store has a value for is not called again. The store's key is
            the function's qualified name, its own code with the values that it carries or `version`, and the
            configuration. Other functions, classes and objects that it uses are not seen: raise `version`
            where those change.
        runner: Where the function is called: in this process one job after the other, or by the workers of
            `dask`, of `slurm`, or of any option of the group `runner`; with settings of its own as overrides
            (`["runner=slurm", "runner.jobs=4"]`) or as a `SlurmRunner`.
        version: Of the function, in place of its code.
        store: Directory of the store; `SWEEPFLOW_STORE`, or `./sweepflow-data`.
        name: Of the sweep; from its function and its overrides where it is not given.
        config_dir: A directory of configuration groups of your own.

    Returns:
        The jobs, in the order of the overrides, the first varying slowest, or in the sweeper's.

    Raises:
        ConfigError: before any call, for what cannot be composed, imported or sent to workers.
        TooManyFailuresError: where `max_failures` jobs do, and there are others to call.
        Exception: what the function raises, where `on_error` is `raise`; what a sweeper raises.
    """
    if goal not in get_args(Goal):
        raise ConfigError("goal is no such thing", got=goal, allowed=" or ".join(get_args(Goal)))
    if sweeper is not None and (inspect.isclass(sweeper) or not isinstance(sweeper, Sweeper)):
        raise ConfigError(
            "this is no sweeper",
            got=f"sweeper={sweeper!r}",
            allowed="an object with begin(space, goal), ask(n) and tell(job, score)",
            do="make one of the class: sweeper=Random(20)",
        )
    how = how_to_call(on_error, cache, runner, config_dir, vectorize, max_failures)
    plan = Plan(config, task_function, overrides, store, version=version, name=name, config_dir=config_dir)
    plan.jobs.goal = goal
    if sweeper is None:
        plan.add(overrides)
        _check_targets(plan, how)
        jobs_flow("multirun", plan, how, lambda launch: launch(plan.jobs))
        return plan.jobs
    at_once = worker_count(how.runner) if at_once is None else at_once
    if at_once < (2 if vectorize else 1):
        raise ConfigError(
            "a sweeper is asked for too few jobs at a time"
            + ", of which there is nothing to batch" * vectorize,
            got=f"at_once={at_once}",
            allowed="1 or more; 2 or more with vectorize=True",
            do="give at_once=64, say",
        )
    # In this process jobs asked for one by one share task runs; workers take whole rounds.
    lazily = at_once == 1 and isinstance(how.runner, LocalRunner) and not vectorize
    axes = plan.composer.axes(plan.overrides)
    refuse_parts_of_drawn([axis.key for axis in axes if axis.sweeps], axes)
    sweeper.begin({a.key: a.distribution or categorical(a.values) for a in axes if a.sweeps}, goal)
    jobs_flow("multirun", plan, how, partial(_search, plan, axes, sweeper, score, at_once, lazily))
    return plan.jobs


def how_to_call(
    on_error: OnError,
    cache: bool,
    runner: str | Sequence[str] | RunnerConfig,
    config_dir: str | Path | None,
    vectorize: bool = False,
    max_failures: int = 0,
) -> How:
    """How jobs are called, of arguments of `multirun`.

    Raises:
        ConfigError: for those that cannot be used.
    """
    if on_error not in get_args(OnError):
        raise ConfigError("on_error is no such thing", got=on_error, allowed=" or ".join(get_args(OnError)))
    if isinstance(max_failures, bool) or not isinstance(max_failures, int) or max_failures < 0:
        raise ConfigError(
            "max_failures is no number of jobs",
            got=f"{max_failures!r}",
            allowed="1 or more; 0 for any number",
            do="give max_failures=10, say",
        )
    if runner == "local":  # without asking Hydra, which takes a while
        runner = LocalRunner()
    elif isinstance(runner, str):
        runner = [runner if "=" in runner else f"runner={runner}"]
    if isinstance(runner, Sequence):
        runner = compose_runner(runner, config_dir)
    if vectorize and not isinstance(runner, LocalRunner):
        raise ConfigError(
            "one vmapped call is made in this process",
            got=f"vectorize=True, runner={runner.kind}",
            do="leave one of them out",
        )
    return How(on_error, cache, vectorize, runner, max_failures)


def _check_targets(plan: Plan, how: How) -> None:
    if isinstance(how.runner, LocalRunner):  # workers may have other modules
        plan.check_targets()


def _search(
    plan: Plan,
    axes: Sequence[Axis],
    sweeper: Sweeper,
    score: Callable[[Any], float],
    at_once: int,
    lazily: bool,
    launch: Launch,
) -> None:
    """Call what a sweeper asks for; it is told of all that it asked for before it is asked again."""
    fixed = [text for axis in axes if not axis.sweeps for text in axis.texts]
    keys = {axis.key: axis.parsed.get_key_element() for axis in axes}
    untold: list[Job] = []

    def rounds() -> Iterator[list[Job]]:
        while asked := sweeper.ask(at_once):
            for drawn in asked:
                parts = [text.partition("=") for text in drawn]
                texts = [f"{keys.get(key, key)}{equals}{value}" for key, equals, value in parts]
                untold.extend(plan.add(fixed, texts))
            yield list(untold)
            while untold:
                job = untold[0]
                job.score = _score(score, job, plan.caller)
                sweeper.tell(untold.pop(0), job.score)

    try:
        if lazily:
            launch(chain.from_iterable(rounds()))
        else:
            for jobs in rounds():
                launch(jobs)
    finally:
        # The search has ended by an error: a study that is kept has what was found, and waits for none.
        for job in untold:
            job.score = _score(score, job, plan.caller)
            sweeper.tell(job, job.score)


def _score(score: Callable[[Any], float], job: Job, caller: Caller) -> float:
    """A job's score; NaN where it has none, which is said."""
    if job.status != "ok":
        return math.nan
    try:
        return float(score(job.value))
    except Exception as error:  # whatever a user's function may raise
        what = f"job {job.number} ({' '.join(job.overrides)}) has no score: {in_words(error)}"
        caller.warn(f"{what}; return a number, or give score=", NoScoreWarning)
        return math.nan
