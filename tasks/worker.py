"""Information about the Dask worker in which a task runs, and messages through it, if there is a worker."""

from __future__ import annotations

import os
import sys
from typing import Any

LEAVE_AT = "SWEEPFLOW_LEAVE_AT"
"""Unix time by which a worker has to be gone; set by the script of its job."""
BEGAN = "sweepflow-began"
"""Topic of the Dask events by which workers report that they have begun a batch."""
INTERRUPTED = "Interrupted"
"""Name of the state of a batch that has stopped because its process was asked to end. Its trials have no
result."""


def leave_at() -> float | None:
    """Return the Unix time by which this process has to be gone, or None if it may stay."""
    given = os.environ.get(LEAVE_AT)
    return float(given) if given else None


def this_worker() -> Any:
    """Return this thread's Dask worker, or None if the thread runs in no worker."""
    if "distributed.worker" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def announce_began() -> None:
    """Report that this task has begun, and return once the scheduler has received the report.

    From then on, the end of this process may be caused by the task itself.
    """
    worker = this_worker()
    if worker is None:
        return
    from distributed.utils import sync

    sync(worker.loop, worker.scheduler.log_event, topic=BEGAN, msg=worker.get_current_task())


def worker_name() -> str | None:
    """Return the name of this process's Dask worker, or None if there is no worker."""
    worker = this_worker()
    return None if worker is None else str(worker.name)


def flow_elsewhere() -> None:
    """Stand in for a flow in a worker, which knows the flow's name and need not have its module."""
