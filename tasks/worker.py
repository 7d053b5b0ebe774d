"""What a task can know of the Dask worker that it runs in, and tell through it, where it runs in one."""

from __future__ import annotations

import os
import sys
from typing import Any

LEAVE_AT = "SWEEPFLOW_LEAVE_AT"
"""Unix time by which a worker has to be gone; set by the script of its job."""
BEGAN = "sweepflow-began"
"""Of Dask's events, by which workers say that they have begun a batch."""
INTERRUPTED = "Interrupted"
"""The state of a batch that has stopped because its process was asked to end: its trials have no result."""


def leave_at() -> float | None:
    """When this process has to be gone, or None where it may stay."""
    given = os.environ.get(LEAVE_AT)
    return float(given) if given else None


def this_worker() -> Any:
    """This thread's Dask worker, or None where it is in none."""
    if "distributed.worker" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def announce_began() -> None:
    """Say that this task has begun, and go on once the scheduler has heard it.

    What ends this process from here on may be the task's own doing.
    """
    worker = this_worker()
    if worker is None:
        return
    from distributed.utils import sync

    sync(worker.loop, worker.scheduler.log_event, topic=BEGAN, msg=worker.get_current_task())


def worker_name() -> str | None:
    """The name of this process's Dask worker, or None where it is none."""
    worker = this_worker()
    return None if worker is None else str(worker.name)


def flow_elsewhere() -> None:
    """What stands for a flow in a worker, which knows its name and need not have its module."""
