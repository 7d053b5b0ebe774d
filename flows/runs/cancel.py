"""End a run on purpose: its process, its jobs, and its state in Prefect."""

from __future__ import annotations

import getpass
import os
import signal
import time
from collections.abc import Callable

from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from sweepflow.errors import StoreError, SweepflowError
from sweepflow.flows.runs.leftover_jobs import end_jobs
from sweepflow.flows.runs.liveness import Life, is_alive, process_start, this_host, this_machine
from sweepflow.flows.runs.reconcile import cancel_flow_run, read_flow_run, set_flow_run_state
from sweepflow.flows.runs.record import RESUMABLE, RunRecord, get_run, short_id, write_run
from sweepflow.flows.runs.requests import ask_to_cancel, forget_request
from sweepflow.flows.server.embedded import ServerError
from sweepflow.flows.server.of_run import server_of
from sweepflow.storage.store import Store

WAIT_SECONDS = 60.0
"""Maximum wait for a process of this machine that has been asked to end."""
WAIT_ELSEWHERE_SECONDS = 30.0
"""Maximum wait for a process elsewhere, which sees the request in the store at its next sign of life."""
ASK_SECONDS = 5.0
"""Maximum time to try a Prefect server. The process is ended afterwards in any case."""
POLL_SECONDS = 0.1


class CancelError(SweepflowError):
    """A run that does not end."""


def cancel(store: Store, record: RunRecord, say: Callable[[str], None], *, kill: bool = False) -> None:
    """End a run, wait until it is gone, end its SLURM jobs, and mark it as cancelled.

    Args:
        store: The store that knows the run.
        record: The run.
        say: Function that is called with each message for the user, line by line.
        kill: Whether to kill a process of this machine that does not end in time.

    Raises:
        CancelError: if the run does not end.
        SlurmError: if SLURM does not answer.
    """
    if record.state in ("completed", "cancelled"):
        say(f"{short_id(store, record)} has ended already: {record.state}")
        _end_its_jobs(record, say)
        return
    who = f"{getpass.getuser()} on {this_host()}"
    by_itself = False
    if is_alive(record).life is not Life.DEAD:
        ask_to_cancel(store, record.flow_run_id, who)
        if record.api_url is not None:
            _tell_prefect(record, f"asked for by {who}")
        by_itself = _end_process(store, record, say, kill)
    try:
        _end_its_jobs(record, say)
    finally:  # jobs that SLURM does not end now are ended by `sweepflow cleanup`
        _note_the_end(store, record, who, by_itself, say)


def _note_the_end(
    store: Store, record: RunRecord, who: str, by_itself: bool, say: Callable[[str], None]
) -> None:
    """Say in the run file and in Prefect that the run was cancelled.

    Args:
        store: The store that knows the run.
        record: The run as it was.
        who: The user who has cancelled it.
        by_itself: Whether its process ended when it was asked to.
        say: Function that is called with each message for the user.
    """
    latest = get_run(store, record.flow_run_id) or record
    if latest.state == "completed":
        say(f"{short_id(store, record)} completed meanwhile")
        return
    if latest.state != "cancelled":
        write_run(store, latest.model_copy(update={"state": "cancelled", "reason": f"cancelled by {who}"}))
    forget_request(store, record.flow_run_id)
    # A process that ended by itself has told the server of its own, if it had one.
    if not (by_itself and latest.state == "cancelled" and record.api_url is None):
        _mark(record, f"cancelled by {who}", say)
    again = f"sweepflow resume {short_id(store, record)}" if record.flow in RESUMABLE else record.command
    say(f"{short_id(store, record)} is cancelled; what is done is kept; to go on: {again}")


def _end_process(store: Store, record: RunRecord, say: Callable[[str], None], kill: bool) -> bool:
    """Ask the process to end and wait for it.

    Returns:
        Whether the process ended when it was asked; False if it had to be killed.
    """

    def gone() -> bool:
        return process_start(record.pid) != record.pid_started

    if record.machine != this_machine():
        say(f"asked process {record.pid} on {record.host} to end")
        if not _within(WAIT_ELSEWHERE_SECONDS, lambda: _has_ended(store, record)):
            raise CancelError(
                f"the run has not ended in {WAIT_ELSEWHERE_SECONDS:g} s",
                got=f"process {record.pid} on {record.host}: {is_alive(record).words}",
                do="look there, or wait: the request stays; then again: "
                f"sweepflow cancel {short_id(store, record)}",
            )
        return True
    if _send(record, signal.SIGTERM) and not _within(WAIT_SECONDS, gone):
        if not kill:
            raise CancelError(
                f"process {record.pid} has been asked to end, and has not in {WAIT_SECONDS:g} s",
                got=f"{record.flow_run_id}, {record.command}",
                do=f"wait, or kill it: sweepflow cancel {short_id(store, record)} --kill",
            )
        _send(record, signal.SIGKILL)
        if not _within(WAIT_SECONDS, gone):
            raise CancelError("the process cannot be killed", got=f"process {record.pid} on {record.host}")
        say(f"killed process {record.pid}")
        return False
    return True


def _send(record: RunRecord, what: signal.Signals) -> bool:
    """Send a signal, and return whether there was a process to send it to."""
    try:
        os.kill(record.pid, what)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise CancelError(
            "the run's process is another user's",
            got=f"process {record.pid} on {record.host}",
            do="ask its owner: the request is in the store, and is seen there within seconds",
        ) from error
    return True


def _has_ended(store: Store, record: RunRecord) -> bool:
    now = get_run(store, record.flow_run_id)
    return now is not None and now.state != "running"


def _end_its_jobs(record: RunRecord, say: Callable[[str], None]) -> None:
    if ended := end_jobs(record):
        say(f"ended {ended} SLURM {'job' if ended == 1 else 'jobs'} named {record.job_name}")


def _tell_prefect(record: RunRecord, message: str) -> None:
    """Show in Prefect's pages that the run is being cancelled. Its process is ended even if this fails."""
    try:
        with server_of(record):
            row = read_flow_run(record.flow_run_id, ASK_SECONDS)
            if row is not None and not _final(row):
                set_flow_run_state(row.id, Cancelling(message=message), ASK_SECONDS)
    except Exception:  # whatever is wrong with the server is said when the end is told to it
        return


def _mark(record: RunRecord, reason: str, say: Callable[[str], None]) -> None:
    """Mark the run as cancelled in Prefect."""
    try:
        with server_of(record):
            row = read_flow_run(record.flow_run_id)
            if row is None:
                say("Prefect's database here does not have it")
            elif row.state is None or not (row.state.is_completed() or row.state.is_cancelled()):
                cancel_flow_run(row.id, reason)
    except (ServerError, StoreError) as error:
        say(f"Prefect was not told: {error.what}")


def _final(row: FlowRun) -> bool:
    return row.state is not None and row.state.is_final()


def _within(seconds: float, happened: Callable[[], bool]) -> bool:
    """Wait for something to happen, and return whether it happens in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
