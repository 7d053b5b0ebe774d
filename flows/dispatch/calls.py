"""A Prefect flow whose jobs are calls of one Python callable, in this process or by a runner's workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal, TypeVar

from prefect import Task, get_run_logger, tags
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from sweepflow.errors import ConfigError
from sweepflow.flows.dispatch.calls_elsewhere import BatchesFailedError, jobs_elsewhere
from sweepflow.flows.orchestrate import sweep_flow
from sweepflow.flows.server.away import AWAY_SECONDS
from sweepflow.flows.server.embedded import keep_prefect_server
from sweepflow.flows.server.waiting import ServerAwayAbort, await_server, told
from sweepflow.jobs.call import NotBatchedWarning, NotKeptWarning, call, call_batched, recall
from sweepflow.jobs.job import Job, summary, well
from sweepflow.jobs.plan import JobPlan
from sweepflow.jobs.sent import check_sendable
from sweepflow.jobs.vectorize import Group, groups
from sweepflow.report.numbers import counted
from sweepflow.schema.runner import LocalRunner, RunnerConfig
from sweepflow.tasks.jobs_progress import FailureLimit, jobs_progress

OnError = Literal["keep", "raise"]
T = TypeVar("T")
TASK_SECONDS = 5.0
"""Intended duration of one of Prefect's task runs. Short jobs share a task run, so that thousands of jobs do
not each cost a round trip to Prefect's server."""

_BODY: ContextVar[Callable[[], Any]] = ContextVar("sweepflow_jobs")
"""The body of the flow that is being started."""

Launch = Callable[[Iterable[Job]], None]
"""Function that calls jobs. It takes the next job only when it needs it, so that the results of the earlier
jobs are known by then."""


@dataclass(frozen=True)
class How:
    """Settings for calling jobs, as in `multirun`."""

    on_error: OnError
    cache: bool
    vectorize: bool
    runner: RunnerConfig
    max_failures: int = 0


def jobs_flow(kind: str, plan: JobPlan, how: How, drive: Callable[[Launch], T]) -> T:
    """Run a flow.

    Args:
        kind: The flow's name.
        plan: The jobs, as far as they are known.
        how: Settings for calling them.
        drive: Body of the flow. It launches jobs, which must be known to the plan.

    Returns:
        The value that `drive` returns.
    """
    if not isinstance(how.runner, LocalRunner):
        check_sendable(plan.callee)
    if how.cache and plan.source.unknown and plan.callee.version is None:
        raise ConfigError(
            f"{plan.task_name} carries a value that cannot be told from others, so its jobs cannot, either",
            got=f"cache=True, and a {plan.source.unknown}",
            allowed="functions that carry numbers, text, arrays, and objects with attributes of such",
            do="give version=1, and raise it whenever results change; or leave cache=True out",
        )
    plan.callee.store.check_writable()
    keep_prefect_server()
    found: list[T] = []

    def body() -> Any:
        with told(), tags("sweepflow", plan.name):
            with _launcher(plan, how) as launch:
                found.append(drive(launch))
            if how.cache and (job := next((job for job in plan.jobs if job.note), None)) is not None:
                plan.caller.warn(f"{job.task_name} will be called again: {job.note}", NotKeptWarning)
            # What the jobs gave is no result of Prefect's: `found` has it, whatever the state.
            state: State[None] = (Completed if well(plan.jobs) else Failed)(message=summary(plan.jobs))
            if not await_server(AWAY_SECONDS):
                raise ServerAwayAbort(state)
            return state

    # Without retries: jobs that were called are not called again.
    flow = sweep_flow(kind, plan.name, validate_parameters=False, retries=0, persist_result=False)(_body)
    token = _BODY.set(body)
    try:
        flow(plan.callee.name, plan.overrides)
    except BatchesFailedError:
        pass  # the flow has failed, and says why; so do the jobs
    finally:
        _BODY.reset(token)
    return found[0]


def _body(function: str, overrides: list[str]) -> Any:
    # Prefect's parameters are what its pages show; the jobs themselves are no JSON. And Prefect sends its
    # flow to workers with every batch: this function by its name, but a closure with all that it holds.
    del function, overrides
    return _BODY.get()()


def _launcher(plan: JobPlan, how: How) -> AbstractContextManager[Launch]:
    if not isinstance(how.runner, LocalRunner):
        raises = how.on_error == "raise"
        return jobs_elsewhere(plan, how.runner, cache=how.cache, raises=raises, max_failures=how.max_failures)
    return _batched(plan, how) if how.vectorize else _one_by_one(plan, how)


@contextmanager
def _one_by_one(plan: JobPlan, how: How) -> Iterator[Launch]:
    limit = FailureLimit(how.max_failures)
    with jobs_progress(plan.name, len(plan.jobs) or None) as ended:

        def launch(jobs: Iterable[Job]) -> None:
            left = iter(jobs)
            while (first := next(left, None)) is not None:
                part = partial(_call_some, plan, how, chain([first], left), limit, ended)
                _run_task(f"jobs from {first.number}", part)

        yield launch


def _call_some(
    plan: JobPlan, how: How, jobs: Iterator[Job], limit: FailureLimit, ended: Callable[[Job], None]
) -> None:
    """Call jobs until they have taken more than `TASK_SECONDS`."""
    started = time.monotonic()
    for job in jobs:
        if how.cache and recall(plan.callee, job):
            ended(job)
        else:
            _call_one(plan, how, job, limit, ended)
        if time.monotonic() - started > TASK_SECONDS:
            return


def _call_one(plan: JobPlan, how: How, job: Job, limit: FailureLimit, ended: Callable[[Job], None]) -> None:
    limit.check()
    call(plan.callee, job)
    limit.ended(job)
    ended(job)
    if job.error is not None and how.on_error == "raise":
        raise job.error


@contextmanager
def _batched(plan: JobPlan, how: How) -> Iterator[Launch]:
    limit = FailureLimit(how.max_failures)
    with jobs_progress(plan.name, len(plan.jobs) or None) as ended:
        yield lambda jobs: _run_task("batched jobs", partial(_call_batched, plan, how, jobs, limit, ended))


def _call_batched(
    plan: JobPlan, how: How, jobs: Iterable[Job], limit: FailureLimit, ended: Callable[[Job], None]
) -> None:
    """Call the function once for all jobs that differ only in numbers, and one by one for all other jobs."""
    left = []
    for job in jobs:
        if how.cache and recall(plan.callee, job):
            ended(job)
        else:
            left.append(job)
    alone: list[Job] = []
    shared: list[Group] = []
    why = ""
    for group in groups(left):
        said = call_batched(plan.callee, group) if group.numbers else ""
        why = why or said
        if said or not group.numbers:
            alone += group.jobs
            continue
        shared.append(group)
        for job in group.jobs:
            limit.ended(job)
            ended(job)
    if why:
        plan.caller.warn(f"{counted(len(alone), 'job')} called one by one: {why}", NotBatchedWarning)
    keys = [key for group in shared for key in group.keys]
    plan.jobs.batched = tuple(dict.fromkeys([*plan.jobs.batched, *keys]))
    said = f"{len(left) - len(alone)} of {counted(len(left), 'job')} in {counted(len(shared), 'call')}"
    get_run_logger().info("batched %s: %s", ", ".join(plan.jobs.batched) or "nothing", said)
    for job in sorted(alone, key=lambda job: job.number):
        _call_one(plan, how, job, limit, ended)


def _run_task(name: str, body: Callable[[], None]) -> None:
    # Without parameters: Prefect would look into every one of the jobs for futures.
    Task(body, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, retries=0)()
