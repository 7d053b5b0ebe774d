"""One batch as one Prefect task run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from sweepflow.batching import Batch
from sweepflow.engine.devices import configure
from sweepflow.engine.workload import Workload
from sweepflow.errors import StoreError
from sweepflow.store.store import Store

RETRIES = 3
FIRST_DELAY_SECONDS = 2.0


def workloads() -> dict[str, Workload[Any]]:
    """The workloads by name; imported late, because they import JAX."""
    from sweepflow.llc.workload import LLC
    from sweepflow.targets.workload import TARGET

    return {workload.name: workload for workload in (TARGET, LLC)}


def batch_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The cache key: workload, version, store and the trials' fingerprints; not the run, nor how it runs.

    Prefect's own policies would run a finished batch again in the next flow run, or let two tasks with
    equal inputs share a result.
    """
    workload = workloads()[parameters["workload"]]
    ids = sorted(trial.id for trial in parameters["batch"].trials)
    digest = hashlib.sha256("\n".join([parameters["store"], *ids]).encode()).hexdigest()[:32]
    return f"{workload.name}-v{workload.version}-{digest}"


def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help: a file system or a network may recover, a wrong program will not."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, StoreError):
        error = error.__cause__ or error
    return isinstance(error, (OSError, TimeoutError))


@task(
    task_run_name="{workload}: {batch.name}",
    persist_result=True,
    cache_policy=CacheKeyFnPolicy(cache_key_fn=batch_key),
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
    retry_condition_fn=can_pass,
)
def run_batch_task(workload: str, batch: Batch[Any], store: str, memory_fraction: float) -> dict[str, str]:
    """Run the trials of a batch that the store lacks, and keep their records.

    Args:
        workload: `target` or `llc`.
        batch: The trials, by configuration; arrays stay in the store.
        store: The store's directory, as this process sees it.
        memory_fraction: Share of the free memory that one call may take.

    Returns:
        The status of every trial, by id.
    """
    configure()
    from sweepflow.engine.run import run_batch

    records = Store(Path(store))
    # Another sweep may have finished some of them since this one was planned.
    known = records.finished(trial.id for trial in batch.trials)
    missing = [trial for trial in batch.trials if trial.id not in known]
    if missing:
        done = run_batch(
            workloads()[workload],
            missing,
            records,
            size=batch.size,
            datasets=batch.datasets,
            memory_fraction=memory_fraction,
        )
        known |= {record.id: record for record in done}
    return {trial.id: known[trial.id].status for trial in batch.trials}
