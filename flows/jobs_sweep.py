"""Any Python callable as a Prefect flow of jobs: `run` calls it once, `multirun` once for each override."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from prefect import Flow, Task, get_run_logger, tags
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.embedded_server import keep_prefect_server
from sweepflow.errors import ConfigError
from sweepflow.jobs.call import NotKeptWarning, call, call_batched, recall
from sweepflow.jobs.job import Goal, Job, Jobs
from sweepflow.jobs.plan import Plan
from sweepflow.jobs.sweepers import Sweeper
from sweepflow.jobs.vectorize import groups
from sweepflow.report.numbers import counted
from sweepflow.space import categorical
from tasks.jobs_progress import jobs_progress

OnError = Literal["keep", "raise"]
TASK_SECONDS = 5.0
"""What a task run of Prefect's is to take: short jobs share one, so that thousands do not cost a round trip
to its server each."""


def run(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] = (),
    *,
    on_error: OnError = "raise",
    cache: bool = False,
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
    plan = Plan(config, task_function, overrides, store, version=version, name=name, config_dir=config_dir)
    plan.add(overrides)
    if len(plan.jobs) != 1:
        raise ConfigError(
            "run calls the function once",
            got=f"{' '.join(overrides)}, which is {counted(len(plan.jobs), 'job')}",
            allowed="one value for each key",
            do="use multirun for all of them",
        )
    return _flow("run", plan, iter(plan.jobs), on_error, cache)[0]


def multirun(
    config: Any,
    task_function: Callable[[Any], Any],
    overrides: Sequence[str] = (),
    *,
    sweeper: Sweeper | None = None,
    score: Callable[[Any], float] = float,
    goal: Goal = "minimize",
    vectorize: bool = False,
    on_error: OnError = "keep",
    cache: bool = False,
    version: int | None = None,
    store: str | Path | None = None,
    name: str | None = None,
    config_dir: str | Path | None = None,
) -> Jobs:
    """Call a function with every configuration that the overrides ask for, as a Prefect flow.

    Args:
        config: A dataclass, a pydantic model, a mapping, an OmegaConf tree, or what hydra-zen makes.
        task_function: Called with each composed configuration, in this process: a pydantic model where that
            was given, an OmegaConf tree else.
        overrides: In Hydra's grammar: `x=1,2`, `x=range(0,5)`, `optim=sgd,adam`; with a sweeper, also
            `x=interval(0,1)` and `x=choice(a,b)`.
        sweeper: Says what is called next; without one, all that the overrides ask for is.
        score: What the sweeper is told, from a return value.
        goal: Whether a small or a large score is good.
        vectorize: Whether jobs that differ in numbers only are one call of `jax.vmap`, for a pure function of
            JAX; `batched` of what is returned says which keys were. Values may differ from those of calls one
            by one in their last bits.
        on_error: `keep` lets the other jobs go on where one raises; `raise` ends the sweep.
        cache: Whether a configuration that the store has a value for is not called again. The store's key is
            the function's qualified name, its own source text or `version`, and the configuration. What it
            calls in turn is not seen: raise `version` where that changes.
        version: Of the function, in place of its source text.
        store: Directory of the store; `SWEEPFLOW_STORE`, or `./sweepflow-data`.
        name: Of the sweep; from its function and its overrides where it is not given.
        config_dir: A directory of configuration groups of your own.

    Returns:
        The jobs, in the order of the overrides, the first varying slowest, or in the sweeper's.

    Raises:
        ConfigError: before any call, for what cannot be composed.
        Exception: what the function raises, where `on_error` is `raise`.
    """
    plan = Plan(config, task_function, overrides, store, version=version, name=name, config_dir=config_dir)
    plan.jobs.goal = goal
    if sweeper is not None:
        if vectorize:
            raise ConfigError(
                "a sweeper asks for one job at a time, of which there is nothing to batch",
                got=f"vectorize=True, sweeper={sweeper!r}",
                do="leave one of them out",
            )
        return _flow("multirun", plan, _search(plan, sweeper, score), on_error, cache)
    plan.add(overrides)
    return _flow("multirun", plan, iter(plan.jobs), on_error, cache, vectorize)


def _search(plan: Plan, sweeper: Sweeper, score: Callable[[Any], float]) -> Iterator[Job]:
    """What a sweeper asks for, one job at a time; it is told of each before it is asked again."""
    axes = plan.composer.axes(plan.overrides)
    fixed = [axis.text for axis in axes if not axis.sweeps]
    sweeper.begin({a.key: a.distribution or categorical(a.values) for a in axes if a.sweeps})
    while asked := sweeper.ask(1):
        for drawn in asked:
            for job in plan.add(fixed, drawn):
                yield job
                job.score = math.nan if job.error is not None else float(score(job.value))
                sweeper.tell(job, job.score)


def _flow(
    kind: str, plan: Plan, jobs: Iterator[Job], on_error: OnError, cache: bool, vectorize: bool = False
) -> Jobs:
    if on_error not in get_args(OnError):
        raise ConfigError("on_error is no such thing", got=on_error, allowed=" or ".join(get_args(OnError)))
    plan.store.check_writable()
    keep_prefect_server()

    # Prefect's parameters are what its pages show; the jobs themselves are no JSON.
    def body(function: str, overrides: list[str]) -> Any:
        del function, overrides
        with tags("sweepflow", plan.name), jobs_progress(plan.name, len(plan.jobs) or None) as ended:
            if vectorize:
                _run_task("batched jobs", partial(_call_batched, plan, cache, ended))
            while not vectorize and (first := next(jobs, None)) is not None:
                part = partial(_call_some, plan, chain([first], jobs), on_error, cache, ended)
                _run_task(f"jobs from {first.number}", part)
        if cache and (job := next((job for job in plan.jobs if job.note), None)) is not None:
            warnings.warn(f"{job.task_name} will be called again: {job.note}", NotKeptWarning, stacklevel=2)
        failed = sum(job.status == "failed" for job in plan.jobs)
        said = counted(len(plan.jobs), "job") + (f", {failed} of them failed" if failed else "")
        return Completed(message=said)

    flow = Flow(body, name=kind, flow_run_name=plan.name, validate_parameters=False, persist_result=False)
    flow(plan.full_name, plan.overrides)
    return plan.jobs


def _call_some(
    plan: Plan, jobs: Iterator[Job], on_error: OnError, cache: bool, ended: Callable[[Job], None]
) -> None:
    """Call jobs until they have taken some seconds."""
    started = time.monotonic()
    for job in jobs:
        if not (cache and recall(plan, job)):
            call(plan, job)
        ended(job)
        if job.error is not None and on_error == "raise":
            raise job.error
        if time.monotonic() - started > TASK_SECONDS:
            return


def _call_batched(plan: Plan, cache: bool, ended: Callable[[Job], None]) -> None:
    """Call the function once for all jobs that differ in numbers only."""
    left = []
    for job in plan.jobs:
        if cache and recall(plan, job):
            ended(job)
        else:
            left.append(job)
    found = groups(left)
    for group in found:
        call_batched(plan, group)
        for job in group.jobs:
            ended(job)
    plan.jobs.batched = tuple(dict.fromkeys(key for group in found for key in group.keys))
    said = f"{counted(len(left), 'job')} in {counted(len(found), 'call')}"
    get_run_logger().info("batched %s: %s", ", ".join(plan.jobs.batched) or "nothing", said)


def _run_task(name: str, body: Callable[[], None]) -> None:
    # Without parameters: Prefect would look into every one of the jobs for futures.
    Task(body, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)()
