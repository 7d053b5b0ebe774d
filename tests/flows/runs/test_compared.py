"""What Prefect is told of runs whose process is gone."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Cancelling, Completed, Pending, Running, Scheduled

from sweepflow.flows.runs import compared
from sweepflow.flows.runs.compared import tell_prefect
from tests.flows.runs.test_record import record


@pytest.mark.parametrize("make", [Running, Cancelling, Pending, Scheduled, AwaitingRetry, Completed])
def test_a_run_that_is_to_go_on_is_not_ended(monkeypatch: pytest.MonkeyPatch, make: type[State]) -> None:
    told: list[str] = []
    closed: list[UUID] = []
    monkeypatch.setattr(compared, "set_flow_run_state", lambda _, state: told.append(state.name))
    monkeypatch.setattr(compared, "close_task_runs", closed.append)
    run = record(state="crashed", reason="killed")
    row = FlowRun(id=UUID(run.flow_run_id), flow_id=UUID(int=1), state=make())
    tell_prefect(run, row)
    assert told == (["Crashed"] if make in (Running, Cancelling) else [])
    assert closed == [row.id], "its batches of before run no longer, either way"
