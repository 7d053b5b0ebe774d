"""Go on with a run whose process has ended, as the same flow run."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry, Scheduled
from prefect.utilities.callables import get_call_parameters

from sweepflow.errors import ConfigError
from sweepflow.flows.orchestrate import SweepFlow
from sweepflow.flows.runs.claim import claim
from sweepflow.flows.runs.heartbeat import latest
from sweepflow.flows.runs.leftover_jobs import end_jobs
from sweepflow.flows.runs.liveness import Life, ago, is_alive, this_host
from sweepflow.flows.runs.reconcile import close_flow_run, read_flow_run, set_flow_run_state
from sweepflow.flows.runs.record import RESUMABLE, RunRecord, get_run, now, short_id, write_run
from sweepflow.flows.server.of_run import server_of
from sweepflow.storage.store import Store

TAKEN_SECONDS = 60.0
"""Maximum time to wait until a worker takes a run that was scheduled for it."""
LOOK_SECONDS = 0.5


class AliveError(ConfigError):
    """A run that is alive, or may be, so that no other process may go on with it."""


def latest_unfinished(records: Sequence[RunRecord]) -> RunRecord | None:
    """Return the newest run that has not completed, and whose work no later run has done or is doing.

    Args:
        records: Runs of one store, the newest last.
    """
    made_good: set[tuple[str, str, str]] = set()
    for record in reversed(records):
        if record.flow not in RESUMABLE:
            continue
        same = (record.flow, record.directory, str(sorted(record.parameters.items())))
        alive = is_alive(record).life is not Life.DEAD
        if record.state != "completed" and not alive and record.successor is None and same not in made_good:
            return record
        if record.state == "completed" or alive:
            made_good.add(same)
    return None


def check_ended(store: Store, record: RunRecord) -> None:
    """Refuse a run whose process may still work on it.

    Args:
        store: The store that knows the run.
        record: The run.

    Raises:
        AliveError: if it may. The error says what is known of the process, and what to do.
    """
    found = is_alive(record)
    if found.life is Life.DEAD:
        return
    raise AliveError(
        f"the run is {'alive' if found.life is Life.ALIVE else 'not known to be dead'}: {found.words}",
        got=f"{record.flow_run_id}, process {record.pid} on {record.host}, last sign of life "
        f"{ago(max(0.0, (now() - record.beat).total_seconds()))} ago",
        allowed="a run whose process has ended",
        do=f"wait for it (sweepflow runs), or end it first: sweepflow cancel {short_id(store, record)}",
    )


def resume(store: Store, record: RunRecord, say: Callable[[str], None], *, here: bool = False) -> Any:
    """Close everything that Prefect believes to be running, and run the flow again as the same flow run.

    If Prefect's database does not have the run, a new flow run with the same parameters is made. This
    function changes the working directory of this process to that of the run.

    Args:
        store: The store that knows the run.
        record: The run.
        say: Function that is called with each message for the user, line by line.
        here: Whether to run a deployment's run in this process, instead of leaving it to its worker.

    Returns:
        The value that the flow returns; None if a worker is to run it.

    Raises:
        AliveError: if the run's process may be alive.
        ConfigError: if another process goes on with the run, or the run cannot be run here.
        ServerError: if Prefect does not answer.
    """
    flow = _flow(record)
    check_ended(store, get_run(store, record.flow_run_id) or record)
    with claim(store, record.flow_run_id):
        record = get_run(store, record.flow_run_id) or record
        check_ended(store, record)
        absolute = Store(store.root.absolute())
        with server_of(record):
            row = read_flow_run(record.flow_run_id)
            found = is_alive(record)
            reason = f"closed by `sweepflow resume` on {this_host()}: {found.words}"
            if record.state == "running":
                write_run(absolute, record.model_copy(update={"state": "crashed", "reason": found.words}))
            ended_jobs = end_jobs(record)
            if ended_jobs:
                say(f"ended {ended_jobs} of its SLURM jobs that were left")
            if row is None:
                say(f"Prefect's database here does not have {record.flow_run_id}: it is a new flow run")
                return _anew(absolute, record, flow)
            close_flow_run(row, reason)
            if row.deployment_id is not None and not here:
                _leave_to_a_worker(row, short_id(store, record), say)
                return None
            say(f"going on with {short_id(store, record)} ({row.name}), attempt {record.attempt + 1}")
            return _again(absolute, record, flow, row)


def _leave_to_a_worker(row: FlowRun, short: str, say: Callable[[str], None]) -> None:
    """Schedule the run for the workers of its deployment, and check whether one takes it.

    A worker that has lost a process reports that it crashed, and reports this again half a minute later,
    whatever state the run has by then. So the run may have to be scheduled twice.
    """
    deadline = time.monotonic() + TAKEN_SECONDS
    message = f"to go on, by `sweepflow resume` on {this_host()}"
    set_flow_run_state(row.id, Scheduled(message=message))
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        now_is = read_flow_run(row.id)
        state = None if now_is is None else now_is.state
        if state is None or not (state.is_scheduled() or state.is_crashed()):
            say(f"{short} is scheduled again: a worker of its deployment goes on with it")
            return
        if state.is_crashed():
            set_flow_run_state(row.id, Scheduled(message=message))
    pool = f" --pool {row.work_pool_name}" if row.work_pool_name else ""
    say(f"{short} is scheduled again, but no worker has taken it: prefect worker start{pool}; or add --here")


def _again(store: Store, record: RunRecord, flow: SweepFlow[...], row: FlowRun) -> Any:
    """Run the flow again as the same flow run."""
    _go_where_it_was(store, record)
    set_flow_run_state(row.id, AwaitingRetry(message=f"gone on with by `sweepflow resume` on {this_host()}"))
    fresh = read_flow_run(row.id)
    assert fresh is not None  # its state has just been set
    return flow.again(fresh, get_call_parameters(flow.fn, (), record.parameters))


def _anew(store: Store, record: RunRecord, flow: SweepFlow[...]) -> Any:
    """Run the flow as a new flow run, and record the id of the new run in the file of the old run."""
    _go_where_it_was(store, record)
    try:
        return flow(**record.parameters)
    finally:
        beat = latest()
        old = get_run(store, record.flow_run_id)
        if old is not None and beat is not None and beat.record.flow_run_id != record.flow_run_id:
            write_run(store, old.model_copy(update={"successor": beat.record.flow_run_id}))


def _go_where_it_was(store: Store, record: RunRecord) -> None:
    """Change to the run's working directory, because relative paths of its parameters start there."""
    directory = Path(record.directory)
    if not directory.is_dir():
        raise ConfigError(
            "the run's working directory is not here",
            got=f"{record.directory}, on {record.host}",
            do=f"resume it there, or start it again in another directory: {record.command}",
        )
    os.chdir(directory)
    # Where the run's parameters name no store, the one that knows it is meant.
    os.environ["SWEEPFLOW_STORE"] = str(store.root)


def _flow(record: RunRecord) -> SweepFlow[...]:
    if record.flow not in RESUMABLE:
        raise ConfigError(
            "the run cannot be gone on with from a shell",
            got=f"a run of {record.flow}",
            allowed=f"runs of {', '.join(RESUMABLE)}",
            do=f"start its script again: {record.command}",
        )
    return getattr(importlib.import_module(RESUMABLE[record.flow]), record.flow)
