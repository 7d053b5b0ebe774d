"""One batch as one Prefect task run."""

from __future__ import annotations

import errno
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from prefect import task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.states import Completed, Crashed
from prefect.tasks import Task, exponential_backoff

from sweepflow.batching import Batch, WorkUnit, batch_from_json
from sweepflow.engine.devices import configure
from sweepflow.engine.run import run_batch
from sweepflow.engine.segments import CutError, LeavingError, Pace
from sweepflow.engine.workload import Trial, Workload
from sweepflow.errors import StoreError
from sweepflow.schema.runner import RunnerConfig
from sweepflow.stop import InterruptedBatchError, is_stopped, raise_if_stopped, stoppable
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.tasks.compilations import Compilations
from sweepflow.tasks.progress import announce, announce_points
from sweepflow.tasks.slot import slot
from sweepflow.tasks.worker import INTERRUPTED, announce_began, leave_at, worker_name
from sweepflow.workloads import SweepWorkload

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
and a wrong path (ENOENT, ENOTDIR, EEXIST) stay until a person fixes them: a retry only delays the report of
the error.
"""


class Ran(NamedTuple):
    """The result of a batch's task run, in addition to the records in the store.

    Attributes:
        worker: Name of the worker in which it ran; None in the process of the flow.
        left: Whether the worker had to leave before the batch was done; the batch then goes on elsewhere.
        began: Whether the batch had begun; false while it waited for a slot of a concurrency limit.
        compiled, from_cache: Numbers of programs compiled, and of programs found in the persistent
            compilation cache.
    """

    worker: str | None
    left: bool
    began: bool
    compiled: int
    from_cache: int


def find_workload(name: str, trial: Mapping[str, Any] | None = None) -> Workload[Any] | SweepWorkload[Any]:
    """Return a workload by name, or by the path of its module. It is imported late, because it imports JAX.

    Args:
        name: Name or path, as `load_workload` takes it.
        trial: A trial of the batch, as plain JSON. If the module was edited since, this process goes on with
            the version to which the trial belongs, if it has that version.
    """
    from sweepflow.estimates.workload import LLC
    from sweepflow.targets.workload import TARGET
    from sweepflow.workloads import load_workload

    known = {workload.name: workload for workload in (TARGET, LLC)}
    return known[name] if name in known else load_workload(name, trial)


def workload_of(unit: WorkUnit) -> Workload[Any] | SweepWorkload[Any]:
    """Return the workload of a unit as it was planned, whatever has happened to its files since."""
    first = replace(unit.batch, trials=unit.batch.trials[:1])
    return find_workload(unit.workload, first.to_json()["trials"][0])


def batch_parameters(unit: WorkUnit, runner: RunnerConfig, store: Store) -> dict[str, Any]:
    """Return the parameters of `run_batch_task` for a unit, as plain JSON."""
    return {
        "workload": unit.workload,
        "batch": unit.batch.to_json(),
        "store": str(store.root.absolute()),
        "memory_fraction": runner.memory_fraction,
        "one_by_one": unit.one_by_one,
        "checkpoint_seconds": runner.checkpoint_seconds,
        "concurrency_limit": runner.concurrency_limit,
    }


def read_batch(found: Workload[Any] | SweepWorkload[Any], content: Mapping[str, Any]) -> Batch[Any]:
    """Read a batch from plain JSON, with the configurations of its workload."""
    if isinstance(found, SweepWorkload):
        return batch_from_json(content, found.config_type)
    from sweepflow.schema.llc import EstimateConfig
    from sweepflow.schema.target import TargetConfig

    types = {"target": TargetConfig, "llc": EstimateConfig}
    return batch_from_json(content, types[found.name])


def batch_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """Return the cache key: workload, version, store and the trials' fingerprints.

    The flow run, and the way in which it runs, are not part of the key.

    Prefect's own policies would run a finished batch again in the next flow run, or let two tasks with
    equal inputs share a result.
    """
    trials = parameters["batch"]["trials"]
    workload = find_workload(parameters["workload"], trials[0])
    ids = sorted(trial["id"] for trial in trials)
    digest = hashlib.sha256("\n".join([parameters["store"], *ids]).encode()).hexdigest()[:32]
    return f"{workload.name}-v{workload.version}-{digest}"


def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry may help: a file system or a network may recover by itself."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, StoreError):
        error = error.__cause__ or error
    # Lost connections and time-outs often come without a number.
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno in PASSING
    )


def run_batch_here(
    workload: str,
    batch: dict[str, Any],
    store: str,
    memory_fraction: float,
    one_by_one: bool = False,
    checkpoint_seconds: float = 60.0,
    concurrency_limit: str | None = None,
) -> Any:
    """Run the trials of a batch that are not in the store, and store their records.

    Args:
        workload: `target`, `llc`, or a name or path that `load_workload` takes.
        batch: `Batch.to_json`: the trials, by configuration; arrays stay in the store.
        store: The store's directory, as this process sees it.
        memory_fraction: Share of the free memory that one call may take.
        one_by_one: Whether to run one trial after the other, each alone in its program.
        checkpoint_seconds: Shortest time between two checkpoints.
        concurrency_limit: Name of a global concurrency limit; the batch takes one of its slots while it runs.

    Returns:
        The fields of `Ran`, as a dict; a state with the name `INTERRUPTED` if the sweep, or this process, is
        being ended.
    """
    announce_began()
    configure()
    records = Store(Path(store))
    found = find_workload(workload, batch["trials"][0])
    pace = Pace(
        leave_at=leave_at(),
        checkpoint_seconds=checkpoint_seconds,
        stop=is_stopped,
        on_points=partial(announce_points, batch["name"]),
    )
    try:
        with stoppable(), slot(concurrency_limit, pace.leave_at) as began, Compilations() as compilations:
            if not began:
                raise_if_stopped()
            left = not began or _has_to_leave(found, batch, records, memory_fraction, one_by_one, pace)
    except (InterruptedBatchError, CutError) as error:
        ran = Ran(worker_name(), True, True, 0, 0)._asdict()
        return Crashed(name=INTERRUPTED, message=str(error), data=ran)
    ran = Ran(worker_name(), left, began, compilations.compiled, compilations.from_cache)._asdict()
    # What is kept under the key says `left`, too, as above: whoever finds it runs the batch again.
    return Completed(name="Checkpointed", message="goes on in another worker", data=ran) if left else ran


def _has_to_leave(
    found: Workload[Any] | SweepWorkload[Any],
    batch: dict[str, Any],
    records: Store,
    memory_fraction: float,
    one_by_one: bool,
    pace: Pace,
) -> bool:
    """Run the missing trials of a batch; return whether this process has to leave before they are done."""
    trials = read_batch(found, batch).trials
    # Another sweep may have finished some of them since this one was planned.
    known = records.finished(trial.id for trial in trials)
    missing = [trial for trial in trials if trial.id not in known]
    run = found.run if isinstance(found, SweepWorkload) else found
    if not missing:
        return False
    if not isinstance(run, Workload):
        return _has_to_leave_in_turn(run, missing, records, pace.leave_at)
    parts = [[trial] for trial in missing] if one_by_one else [missing]
    size, datasets, width = (1, 1, 1) if one_by_one else (batch["size"], batch["datasets"], None)
    try:
        for part in parts:
            run_batch(
                run,
                part,
                records,
                size=size,
                datasets=datasets,
                memory_fraction=memory_fraction,
                on_record=announce,
                width=width,
                pace=pace,
            )
    except LeavingError:
        return True
    return False


def _has_to_leave_in_turn(
    run: Callable[..., Any], missing: Sequence[Trial[Any]], records: Store, leave_at: float | None
) -> bool:
    """Run trials that begin one after the other; begin no more trials once this process has to leave."""
    left = {trial.id for trial in missing}

    def on_record(record: Record) -> None:
        announce(record)
        left.discard(record.id)
        if left and leave_at is not None and time.time() >= leave_at:
            done = len(missing) - len(left)
            raise LeavingError("left before the walltime", done, len(missing), done)

    try:
        run(missing, records, on_record=on_record)
    except LeavingError:
        return True
    return False


# Not as a decorator: by its own name, the function needs not be copied into every message to a worker.
run_batch_task = task(
    name="run-batch",
    task_run_name="{workload}: {batch[name]}",
    persist_result=True,
    cache_policy=CacheKeyFnPolicy(cache_key_fn=batch_key),
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
    retry_condition_fn=can_pass,
)(run_batch_here)
