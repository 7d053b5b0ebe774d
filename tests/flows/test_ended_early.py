"""What batches had to say is told to Prefect, also of a sweep that is ended before its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

import sweepflow.flows.dispatch.calls_elsewhere
import sweepflow.flows.dispatch.work
import sweepflow.tasks.progress
from sweepflow.estimates.prepare import PreparedLlc, prepare
from sweepflow.flows.dispatch.calls_elsewhere import jobs_elsewhere
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.ways import run_trials
from sweepflow.flows.dispatch.work import Work
from sweepflow.flows.llc import run_stages
from sweepflow.flows.runs import hooks
from sweepflow.flows.runs.heartbeat import beating
from sweepflow.jobs.plan import JobPlan
from sweepflow.jobs.sweepers import override
from sweepflow.schema.runner import DaskRunner
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import TooManyFailuresError
from sweepflow.trials.prepare import PreparedTrials, SweepOptions, prepare_trials
from tests.flows.dispatch.test_batches import Bench, does
from tests.prefect_server import TINY

ENDED = uuid4()
"""A task run whose end is not in Prefect yet when its sweep is ended."""


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweepflow.tasks.progress, "create_progress_artifact", lambda **_: None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[UUID, State[Any]]:
    """How Prefect is told that task runs have ended."""
    found: dict[UUID, State[Any]] = {}

    def close(run: object, how: Mapping[UUID, State[Any]] | None = None, **_: object) -> None:
        found.update(how or {})

    monkeypatch.setattr(hooks, "close_task_runs", close)
    monkeypatch.setattr(sweepflow.flows.dispatch.calls_elsewhere, "close_task_runs", close)
    monkeypatch.setattr(sweepflow.flows.dispatch.calls_elsewhere, "await_server", lambda *_: True)
    return found


def only_fails(*given: Any) -> None:
    """Run jobs, of which one has ended well and too many have failed."""
    (outcome,) = [one for one in given if isinstance(one, Outcome)]
    outcome.states[ENDED] = Completed()
    raise TooManyFailuresError("all fail")


def an_llc_sweep(store: Store) -> tuple[PreparedLlc, Any]:
    return prepare([*TINY, override("store", str(store.root))]), run_stages


def a_sweep(mode: Any, store: Store) -> tuple[PreparedTrials, Any]:
    overrides = ["workload=landscape", override("store", str(store.root))]
    return prepare_trials(overrides, SweepOptions(mode=mode)), run_trials


@pytest.mark.parametrize("make", [an_llc_sweep, partial(a_sweep, "batched"), partial(a_sweep, "sequential")])
def test_a_flow_that_is_ended_tells_how_its_batches_ended(
    make: Any, store: Store, told: dict[UUID, State[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweepflow.flows.dispatch.work, "run_units", only_fails)
    flow_run_id = uuid4()
    prepared, run = make(store)
    with beating(store, name="a sweep", command="", flow_run_id=str(flow_run_id), parameters={}) as beat:
        outcome = Outcome(states=beat.states)
        work = Work(prepared, MagicMock(), beat, MagicMock(), outcome, ExitStack())
        with pytest.raises(TooManyFailuresError):
            run(work)
    hooks.settle(MagicMock(), MagicMock(id=flow_run_id), Failed())
    assert told[ENDED].is_completed()


def test_jobs_on_workers_that_only_fail_say_how_their_batches_ended_and_what_can_be_done(
    store: Store, told: dict[UUID, State[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(store, *[does(0, state=Failed(data=ValueError("no module named foo")))] * 9)

    class Workers:
        job_name = None

        def __init__(self, *_: object) -> None: ...

        @contextmanager
        def pool(self, *_: object) -> Iterator[Bench]:
            yield bench

        def close(self) -> None: ...

    run_id = str(uuid4())
    monkeypatch.setattr(sweepflow.flows.dispatch.calls_elsewhere, "Asked", Workers)
    monkeypatch.setattr(sweepflow.flows.dispatch.calls_elsewhere, "flow_run", SimpleNamespace(id=run_id))
    monkeypatch.setattr(
        sweepflow.flows.dispatch.calls_elsewhere,
        "beating",
        partial(beating, flow_run_id=run_id, flow="jobs", parameters={}),
    )
    plan = JobPlan({"x": 1}, lambda cfg: cfg.x, ["x=range(0,9)"], store.root)
    plan.add(["x=range(0,9)"])
    runner = DaskRunner(workers=1, batch_size=1)
    with (
        pytest.raises(TooManyFailuresError, match="3 calls in a row failed alike") as raised,
        jobs_elsewhere(plan, runner, cache=False, raises=False, max_failures=3) as launch,
    ):
        launch(plan.jobs)
    assert [state.name for state in told.values()] == ["Failed"] * 3
    assert "no module named foo" in str(plan.jobs[0].error), "and so do those of its jobs"
    assert "same command" not in str(raised.value.do) and "max_failures" in str(raised.value.do)
