"""Call one job, or take its value from the store, and keep its result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweepflow.errors import ConfigError, in_words
from sweepflow.jobs.job import Job
from sweepflow.jobs.told import told
from sweepflow.jobs.values import UnkeepableError, keep, restore
from sweepflow.jobs.vectorize import Group, call_together
from sweepflow.provenance import provenance
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

CALLED: ContextVar[Job] = ContextVar("called")
"""The job that is being called. Callables that wrap the user's own use it, if they need more than the
configuration."""


class NotBatchedWarning(UserWarning):
    """Jobs that were to share a call are called one by one, because they cannot share it."""


class NotKeptWarning(UserWarning):
    """A function is called again the next time, because the store cannot keep its return value."""


@dataclass(frozen=True)
class Callee:
    """The callable of jobs, and the store of their records.

    Attributes:
        function: The callable.
        name: Module and qualified name of the callable.
        version: Version that the user gives, or None.
        store: Store of the records.
    """

    function: Callable[[Any], Any]
    name: str
    version: int | None
    store: Store


def recall(callee: Callee, job: Job) -> bool:
    """Fill a job with its value from the store, and return whether the store has one."""
    record = callee.store.get(job.fingerprint)
    if record is None or record.status == "failed" or not record.figures["kept"]:
        return False
    arrays = callee.store.arrays(record.id) if record.figures["arrays"] else {}
    job.value = restore(record.figures["return_value"], arrays)
    job.duration = record.seconds["run"]
    job.status, job.from_store = "ok", True
    if "directory" in record.figures:  # of a call whose files may be there still
        job.directory = str(callee.store.root.absolute() / record.figures["directory"])
    return True


def call(callee: Callee, job: Job) -> None:
    """Call a job's function, and keep a record. An exception is kept in the job, not raised."""
    perform(callee.function, job)
    keep_record(callee, job)


def perform(function: Callable[[Any], Any], job: Job) -> None:
    """Call a job's function. An exception is kept in the job, not raised."""
    token = CALLED.set(job)
    started = time.perf_counter()
    try:
        with told(_OfHydra(job)):
            job.value = function(job.cfg)
        job.status = "ok"
    except (Exception, SystemExit) as error:
        job.status, job.error = "failed", error
        job.traceback = "".join(traceback.format_exception(error))
        if isinstance(error, SystemExit):  # raised again, it would end the program that asks for the value
            job.error = RuntimeError(f"the function called sys.exit({error.code!r})")
    finally:
        CALLED.reset(token)
        job.duration = time.perf_counter() - started


def keep_record(callee: Callee, job: Job, device: bool = True) -> None:
    """Keep the result of a job in the store. If the store cannot keep the value, the job's note says why.

    Args:
        callee, job: As for `call`.
        device: As for `provenance`: False in a process that computes nothing itself.
    """
    callee.store.put(_record(callee, job, device))


def call_batched(callee: Callee, group: Group) -> str:
    """Call the function once for all jobs of a group, and keep their records.

    Returns:
        Reason why this was not possible, so that no job has been called; empty if it was possible.
    """
    started = time.perf_counter()
    try:
        values = call_together(callee.function, group)
    except ConfigError as error:
        return "; ".join(filter(None, [error.what, error.do]))
    except (Exception, SystemExit) as error:  # of which job, only calls one by one can tell
        return f"{group.jobs[0].task_name} raises in a call of several jobs: {in_words(error)}"
    each = (time.perf_counter() - started) / len(group.jobs)
    for job, value in zip(group.jobs, values, strict=True):
        job.status, job.value, job.duration = "ok", value, each
        keep_record(callee, job)
    return ""


class _OfHydra:
    """Hydra's configuration of a job, copied only on access: the copy takes longer than most calls."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def hydra(self) -> Any:
        return self._job.hydra_cfg.hydra


def _record(callee: Callee, job: Job, device: bool) -> Record:
    root, directory = callee.store.root.absolute(), Path(job.directory)
    inside = directory.relative_to(root) if directory.is_relative_to(root) else directory
    figures: dict[str, Any] = {"return_value": None, "kept": False, "arrays": False, "directory": str(inside)}
    arrays: dict[str, np.ndarray] = {}
    reasons = []
    if job.error is not None:
        reasons.append(in_words(job.error))
        figures["traceback"] = job.traceback
    else:
        try:
            content, arrays = keep(job.value)
            figures |= {"return_value": content, "kept": True, "arrays": bool(arrays)}
        except UnkeepableError as error:
            job.note = in_words(error)
            reasons.append(job.note)
    return Record(
        id=job.fingerprint,
        workload=callee.name,
        version=callee.version or 0,
        status="failed" if job.status == "failed" else "ok",
        reasons=tuple(reasons),
        config={"overrides": list(job.overrides), "config": job.config},
        figures=figures,
        seconds={"compile": 0.0, "run": job.duration},
        provenance=provenance(device=device),
        arrays=arrays,
    )
