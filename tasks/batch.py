"""One batch as one Prefect task run."""

from __future__ import annotations

import errno
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
from sweepflow.engine.run import run_batch
from sweepflow.engine.workload import Trial, Workload
from sweepflow.errors import StoreError
from sweepflow.store.store import Store
from sweepflow.workloads import SweepWorkload
from tasks.progress import announce

RETRIES = 3
FIRST_DELAY_SECONDS = 2.0
PASSING = frozenset(
    {
        # A disk or a file server that did not answer, and may in a few seconds.
        errno.EIO,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOLCK,
        # A handle that NFS has forgotten: the next try opens the file anew.
        errno.ESTALE,
        # Something that another batch or program holds at the moment, open files among it.
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EMFILE,
        errno.ENFILE,
    }
)
"""Failures of the file system that pass without anybody's help.

A full disk or quota (ENOSPC, EDQUOT), a file system mounted read-only (EROFS), a permission (EACCES, EPERM)
and a wrong path (ENOENT, ENOTDIR, EEXIST) are as they are until a person mends them: to try again only puts
off their being told.
"""


def find_workload(name: str, trial: Trial[Any] | None = None) -> Workload[Any] | SweepWorkload[Any]:
    """A workload by name, or by the path of its module; imported late, because it imports JAX.

    Args:
        name: As `load_workload` takes it.
        trial: One of the batch's: where the module was edited since, this process goes on with the version
            that the trial is of, if it has it.
    """
    from sweepflow.llc.workload import LLC
    from sweepflow.targets.workload import TARGET
    from sweepflow.workloads import load_workload

    known = {workload.name: workload for workload in (TARGET, LLC)}
    return known[name] if name in known else load_workload(name, trial)


def batch_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The cache key: workload, version, store and the trials' fingerprints; not the run, nor how it runs.

    Prefect's own policies would run a finished batch again in the next flow run, or let two tasks with
    equal inputs share a result.
    """
    workload = find_workload(parameters["workload"], parameters["batch"].trials[0])
    ids = sorted(trial.id for trial in parameters["batch"].trials)
    digest = hashlib.sha256("\n".join([parameters["store"], *ids]).encode()).hexdigest()[:32]
    return f"{workload.name}-v{workload.version}-{digest}"


def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help: a file system or a network may recover by itself."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, StoreError):
        error = error.__cause__ or error
    # Lost connections and time-outs often come without a number.
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno in PASSING
    )


@task(
    task_run_name="{workload}: {batch.name}",
    persist_result=True,
    cache_policy=CacheKeyFnPolicy(cache_key_fn=batch_key),
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
    retry_condition_fn=can_pass,
)
def run_batch_task(
    workload: str, batch: Batch[Any], store: str, memory_fraction: float, one_by_one: bool = False
) -> dict[str, str]:
    """Run the trials of a batch that the store lacks, and keep their records.

    Args:
        workload: `target`, `llc`, or what `load_workload` takes.
        batch: The trials, by configuration; arrays stay in the store.
        store: The store's directory, as this process sees it.
        memory_fraction: Share of the free memory that one call may take.
        one_by_one: One trial after the other, each alone in its program.

    Returns:
        The status of every trial, by id.
    """
    configure()
    records = Store(Path(store))
    # Another sweep may have finished some of them since this one was planned.
    known = records.finished(trial.id for trial in batch.trials)
    missing = [trial for trial in batch.trials if trial.id not in known]
    if missing:
        found = find_workload(workload, batch.trials[0])
        run = found.run if isinstance(found, SweepWorkload) else found
        if isinstance(run, Workload):
            parts = [[trial] for trial in missing] if one_by_one else [missing]
            size, datasets, width = (1, 1, 1) if one_by_one else (batch.size, batch.datasets, None)
            done = [
                record
                for part in parts
                for record in run_batch(
                    run,
                    part,
                    records,
                    size=size,
                    datasets=datasets,
                    memory_fraction=memory_fraction,
                    on_record=announce,
                    width=width,
                )
            ]
        else:
            done = run(missing, records, on_record=announce)
        known |= {record.id: record for record in done}
    return {trial.id: known[trial.id].status for trial in batch.trials}
