"""Prefect hooks for a flow that was stopped before its end; they run in the flow's process."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled

from sweepflow.flows.runs.heartbeat import beat_of
from sweepflow.flows.runs.reconcile import close_task_runs, set_flow_run_state

DEADLINE_SECONDS = 20.0
"""Maximum time that an interrupted process tries a server that does not answer."""
SETTLE_SECONDS = 1.0


def settle(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Correct the states in Prefect.

    Give this function to a flow as `on_crashed` and `on_cancellation`. Prefect marks every run that ends by a
    signal as Crashed. If somebody has cancelled the run, it becomes Cancelled. Batches that were running are
    closed.
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
