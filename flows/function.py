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
from sweepflow.flows.dispatch.calls import How, Launch, OnError, jobs_flow
from sweepflow.jobs.caller import Caller
from sweepflow.jobs.job import Goal, Job, Jobs
from sweepflow.jobs.plan import JobPlan
from sweepflow.jobs.sweepers import Sweeper
from sweepflow.report.numbers import counted
from sweepflow.schema.runner import LocalRunner, RunnerConfig
from sweepflow.space import categorical


class NoScoreWarning(UserWarning):
    """A sweeper is told that a job has failed, because the job's return value is not a score."""


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

    >>> from sweepflow import run
    >>> run({"x": 1, "y": 2}, lambda cfg: cfg.x + cfg.y, ["x=10"]).value
    12

    The arguments are those of `multirun`, but overrides may not sweep.

    Returns:
        The job, with the value that the function returned.

    Raises:
        ConfigError: before the call, if something cannot be composed, or if overrides sweep.
        Exception: any exception that the function raises, unless `on_error` is `keep`.
    """
    how = how_to_call(on_error, cache, runner, config_dir)
    plan = JobPlan(config, task_function, overrides, store, version=version, name=name, config_dir=config_dir)
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

    >>> from sweepflow import multirun
    >>> jobs = multirun({"x": 1, "y": 2}, lambda cfg: cfg.x * cfg.y, ["x=range(0,3)", "y=2,3"])
    >>> [job.value for job in jobs]
    [0, 0, 2, 3, 4, 6]

    Args:
        config: A dataclass, a pydantic model, a mapping, an OmegaConf tree, or a configuration made by
            hydra-zen.
        task_function: Function to call with each composed configuration: a pydantic model if `config` is one,
            otherwise an OmegaConf tree.
        overrides: Overrides in Hydra's grammar: `x=1,2`, `x=range(0,5)`, `optim=sgd,adam`; with a sweeper,
            also `x=interval(0,1)` and `x=choice(a,b)`.
        sweeper: Object that chooses the next calls. Without it, the function is called for everything that
            the overrides ask for.
        score: Function that computes the score from a return value. The sweeper is told the score.
        goal: Whether a small or a large score is good.
        at_once: Number of jobs that a sweeper is asked for at a time. It is told of all of them before it is
            asked again. By default, the number of the runner's workers, and 1 in this process.
        vectorize: Whether jobs that differ only in numbers are one call of `jax.vmap`. The function must be a
            pure JAX function. The attribute `batched` of the returned jobs lists the keys that were batched.
            Values may differ in their last bits from values of calls one by one.
        on_error: `keep` lets the other jobs go on if one raises; `raise` ends the sweep.
        max_failures: Number of jobs in a row that may fail alike before the sweep is ended; 0 for any number.
            Failures are alike if their words are the same except for numbers and paths.
        cache: Whether a configuration is not called again if the store has a value for it. The key in the
            store consists of the function's qualified name, of either its own code with the values that it
            carries or `version`, and of the configuration. Changes in other functions, classes and objects
            that the function uses are not seen: raise `version` if they change.
        runner: Runner that calls the function: in this process, one job after the other, or on the workers of
            `dask`, of `slurm`, or of any option of the group `runner`. The runner's own settings are given as
            overrides (`["runner=slurm", "runner.jobs=4"]`) or as a `SlurmRunner`.
        version: Version of the function, used in place of its code.
        store: Directory of the store; by default `SWEEPFLOW_STORE`, or `./sweepflow-data`.
        name: Name of the sweep; by default made from its function and its overrides.
        config_dir: A directory of configuration groups of your own.

    Returns:
        The jobs, in the order of the overrides, of which the first varies slowest, or in the sweeper's order.

    Raises:
        ConfigError: before any call, if something cannot be composed, imported or sent to workers.
        TooManyFailuresError: if `max_failures` jobs in a row fail alike, and there are others to call.
        Exception: any exception that the function raises, if `on_error` is `raise`; any exception that a
            sweeper raises.
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
    plan = JobPlan(config, task_function, overrides, store, version=version, name=name, config_dir=config_dir)
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
    """Make the settings for calling jobs from arguments of `multirun`.

    Raises:
        ConfigError: if an argument cannot be used.
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


def _check_targets(plan: JobPlan, how: How) -> None:
    if isinstance(how.runner, LocalRunner):  # workers may have other modules
        plan.check_targets()


def _search(
    plan: JobPlan,
    axes: Sequence[Axis],
    sweeper: Sweeper,
    score: Callable[[Any], float],
    at_once: int,
    lazily: bool,
    launch: Launch,
) -> None:
    """Call the jobs that a sweeper asks for. It is told of all these jobs before it is asked again."""
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
    """Return a job's score, or NaN if it has none. A return value without a score causes a warning."""
    if job.status != "ok":
        return math.nan
    try:
        return float(score(job.value))
    except Exception as error:  # whatever a user's function may raise
        what = f"job {job.number} ({' '.join(job.overrides)}) has no score: {in_words(error)}"
        caller.warn(f"{what}; return a number, or give score=", NoScoreWarning)
        return math.nan
