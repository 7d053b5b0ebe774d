"""What batches had to say is told to Prefect, also of a sweep that is ended before its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

import sweepflow.flows.jobs_elsewhere
import sweepflow.flows.run_plan
import sweepflow.flows.run_trials
import sweepflow.tasks.progress
from sweepflow.flows.job import Outcome
from sweepflow.flows.jobs_elsewhere import jobs_elsewhere
from sweepflow.flows.prepare_trials import SweepOptions
from sweepflow.flows.run_plan import run_plan
from sweepflow.flows.run_trials import Ran, run_trials
from sweepflow.flows.runs import hooks
from sweepflow.flows.runs.heartbeat import Beat, beating
from sweepflow.jobs.plan import Plan
from sweepflow.schema.runner import DaskRunner
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import TooManyFailuresError
from sweepflow.trials.draw import DesignOptions
from tests.flows.test_run_jobs import Bench, does

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
    monkeypatch.setattr(sweepflow.flows.jobs_elsewhere, "close_task_runs", close)
    monkeypatch.setattr(sweepflow.flows.jobs_elsewhere, "await_server", lambda *_: True)
    return found


def only_fails(*given: Any) -> None:
    """Run jobs, of which one has ended well and too many have failed."""
    (outcome,) = [one for one in given if isinstance(one, Outcome)]
    outcome.states[ENDED] = Completed()
    raise TooManyFailuresError("all fail")


def by_plan(beat: Beat, store: Store) -> None:
    plan = MagicMock(target_batches=[], estimate_batches=[], hits=0)
    run_plan(plan, store, MagicMock(), beat)


def by_trials(mode: Any, beat: Beat, store: Store) -> None:
    prepared = MagicMock(store=store)
    prepared.plan.runner = DaskRunner()
    options = SweepOptions(design=DesignOptions(1), mode=mode)
    run_trials(prepared, options, MagicMock(), MagicMock(), beat.leases, Ran(Outcome(states=beat.states)))


@pytest.mark.parametrize("run", [by_plan, partial(by_trials, "batched"), partial(by_trials, "sequential")])
def test_a_flow_that_is_ended_tells_how_its_batches_ended(
    run: Any, store: Store, told: dict[UUID, State[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweepflow.flows.run_plan, "run_jobs", only_fails)
    monkeypatch.setattr(sweepflow.flows.run_trials, "run_jobs", only_fails)
    flow_run_id = uuid4()
    with (
        pytest.raises(TooManyFailuresError),
        beating(store, name="a sweep", command="", flow_run_id=str(flow_run_id), parameters={}) as beat,
    ):
        run(beat, store)
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
    monkeypatch.setattr(sweepflow.flows.jobs_elsewhere, "Asked", Workers)
    monkeypatch.setattr(sweepflow.flows.jobs_elsewhere, "flow_run", SimpleNamespace(id=run_id))
    monkeypatch.setattr(
        sweepflow.flows.jobs_elsewhere,
        "beating",
        partial(beating, flow_run_id=run_id, flow="jobs", parameters={}),
    )
    plan = Plan({"x": 1}, lambda cfg: cfg.x, ["x=range(0,9)"], store.root)
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
