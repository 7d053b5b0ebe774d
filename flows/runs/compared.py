"""Comparison of run files with Prefect's states, for runs that have ended."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Completed, Crashed, Failed

from sweepflow.errors import in_words
from sweepflow.flows.runs.liveness import Life, is_alive
from sweepflow.flows.runs.reconcile import PAGE, close_task_runs, patiently, set_flow_run_state
from sweepflow.flows.runs.record import RunRecord, RunState
from sweepflow.flows.server.embedded import silence
from sweepflow.flows.server.of_run import server_of

ASK_SECONDS = 10.0
"""Maximum time to ask a server that answers at all."""
UNENDED = (StateType.RUNNING, StateType.CANCELLING)
STATES: Mapping[RunState, Callable[..., State[None]]] = {
    "completed": Completed,
    "failed": Failed,
    "crashed": Crashed,
    "cancelled": Cancelled,
}


def differing(
    records: Sequence[RunRecord], say: Callable[[str], None]
) -> Iterator[tuple[RunRecord, FlowRun]]:
    """Yield runs whose process has ended, and whose state in Prefect differs from that in their files.

    Either Prefect has no final state of the run, or the run has completed in Prefect and its file does not
    say so. Runs whose server ended with them are not looked at.

    Args:
        records: The runs.
        say: Function that is called with a message about runs that could not be looked at.
    """
    of_servers: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        if record.api_url is not None and is_alive(record).life is Life.DEAD:
            of_servers[record.api_url].append(record)
    for url, ended in of_servers.items():
        if (why := silence(url)) is not None:
            say(f"{len(ended)} runs were not compared with what Prefect says of them: {url}: {why}")
            continue
        try:
            rows = _rows(ended)
        except Exception as error:  # whatever is wrong with a server, the rest can be cleaned up
            why = in_words(error)
            say(f"{len(ended)} runs were not compared with what Prefect says of them: {url}: {why}")
            continue
        for record in ended:
            row = rows.get(record.flow_run_id)
            state = None if row is None else row.state
            if row is None or state is None:
                continue
            # A later attempt may have begun, of which the file says nothing yet.
            unended = state.type in UNENDED and row.run_count <= record.attempt
            # One whose file says running is closed as dead, in both places.
            if (unended and record.state != "running") or (
                state.type is StateType.COMPLETED and record.state != "completed"
            ):
                yield record, row


def tell_prefect(record: RunRecord, row: FlowRun) -> None:
    """Give a flow run without a final state the one of its run file, and its task runs a final state, too.

    A flow run that somebody has scheduled again stays scheduled: its process is gone, and a worker will go on
    with it.
    """
    if row.state is not None and row.state.type in UNENDED:
        make = STATES.get(record.state, Crashed)
        set_flow_run_state(row.id, make(message=record.reason))
    close_task_runs(row.id)


def _rows(records: Sequence[RunRecord]) -> dict[str, FlowRun]:
    """Return Prefect's rows of runs of one server, by id; runs that it does not have are left out."""
    found: dict[str, FlowRun] = {}
    with server_of(records[0]):
        for start in range(0, len(records), PAGE):
            ids = [UUID(record.flow_run_id) for record in records[start : start + PAGE]]
            asked = FlowRunFilter(id=FlowRunFilterId(any_=ids))
            rows = patiently(
                lambda client, asked=asked: client.read_flow_runs(flow_run_filter=asked, limit=PAGE),  # type: ignore[misc]
                time.monotonic() + ASK_SECONDS,
            )
            found |= {str(row.id): row for row in rows}
    return found
