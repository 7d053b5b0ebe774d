"""What a flow does when it was ended before its end: hooks of Prefect's, in the flow's process."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled

from sweepflow.flows.runs.heartbeat import beat_of
from sweepflow.flows.runs.reconcile import close_task_runs, set_flow_run_state

DEADLINE_SECONDS = 20.0
"""How long an interrupted process tries a server that does not answer."""
SETTLE_SECONDS = 1.0


def settle(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Leave Prefect with true states behind.

    To be given to a flow as `on_crashed` and `on_cancellation`. Prefect calls Crashed whatever ends by a
    signal; where somebody has cancelled the run, it becomes Cancelled. Batches that were running are closed.
    """
    beat = beat_of(str(flow_run.id))
    reason = (None if beat is None else beat.record.reason) or "its flow was ended"
    if beat is not None and beat.record.state == "cancelled" and state.type is StateType.CRASHED:
        set_flow_run_state(flow_run.id, Cancelled(message=reason), DEADLINE_SECONDS)
    close_task_runs(
        flow_run.id,
        None if beat is None else beat.states,
        reason=reason,
        settle_seconds=SETTLE_SECONDS,
        deadline_seconds=DEADLINE_SECONDS,
    )
