"""How sweeps end: in what state, with what message, and what becomes of it while Prefect's server is away."""

from __future__ import annotations

import csv
import pickle
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings
from prefect.states import State

import sweepflow.flows.sweep as trials_sweep
from sweepflow import multirun, sweep
from sweepflow.flows import orchestrate
from sweepflow.flows.runs import compared
from sweepflow.flows.runs.leftovers import leftovers, remove
from sweepflow.flows.runs.reconcile import is_away
from sweepflow.flows.runs.record import runs, write_run
from sweepflow.flows.server import away, waiting
from sweepflow.flows.server.away import ServerWatch
from sweepflow.jobs.sweepers import override
from sweepflow.storage.record import Record, Status
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import SweepProgress, TooManyFailuresError
from sweepflow.trials.prepare import SweepOptions, prepare_trials
from sweepflow.trials.result import TrialsSweep
from tests.flows.outage import DATABASE_AWAY, Line, line

SweepOf = Callable[..., TrialsSweep]


def test_what_passes_by_waiting_is_waited_for_and_nothing_else() -> None:
    request = httpx.Request("GET", "http://127.0.0.1:9/api/health")

    def refusal(code: int) -> httpx.HTTPStatusError:
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(code, request=request))

    assert all(is_away(refusal(code)) for code in (408, 429, 500, 502, 503, 504))
    assert all(map(is_away, (httpx.ConnectError(""), httpx.ReadTimeout(""), httpx.RemoteProtocolError(""))))
    assert not any(is_away(refusal(code)) for code in (400, 401, 403, 404, 409, 422))
    assert not any(map(is_away, (httpx.UnsupportedProtocol(""), ValueError(), TypeError(), OSError())))


def test_the_client_is_patient_where_its_user_does_not_say_how_much() -> None:
    with waiting.patient_client():
        assert get_current_settings().client.max_retries == 7
        assert 500 in get_current_settings().client.retry_extra_codes
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 2}), waiting.patient_client():
        assert get_current_settings().client.max_retries == 2
        assert 500 in get_current_settings().client.retry_extra_codes


@pytest.fixture
def to_server(prefect: Any, connection: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """The line by which this process talks to the tests' server."""
    with line(connection) as made:
        monkeypatch.setenv("PREFECT_API_URL", made.url)
        refresh_global_settings_context()
        yield made
        made.mend()
        for worker in (EventsWorker, APILogWorker):  # what they still have goes by this line
            worker.drain_all(timeout=10)


def last_state() -> State[Any]:
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(limit=1, sort="START_TIME_DESC")  # type: ignore[arg-type]
    assert run.state is not None
    return run.state


@pytest.fixture
def sweep_of(prefect: Any, store: Store, tmp_path: Path) -> SweepOf:
    """Runs a sweep of a program that fails for every x from 10 on, and does not end from 30 on."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time\nx = int(sys.argv[1].partition('=')[2])\nprint(f'METRIC loss={x}')\n"
        "if x >= 30: time.sleep(600)\nsys.exit(x >= 10)\n"
    )
    fixed = [
        "workload=command",
        override("command", shlex.join([sys.executable, str(program)])),
        "metrics=[loss]",
        override("store", str(store.root)),
    ]
    return lambda *xs, **options: sweep(overrides=[*fixed, f"args.x={','.join(map(str, xs))}"], **options)


@pytest.mark.server
@pytest.mark.slow
def test_a_sweep_ends_as_its_trials_did(prefect: Any, store: Store, sweep_of: SweepOf) -> None:
    some = sweep_of(1, 2, 10)
    state = last_state()
    assert state.is_completed() and some.trials[0].status == "ok"
    assert (state.message or "").startswith("2 of 3 trials are sound; best loss 1 (trl_"), state.message
    assert [(run.state, run.done, run.total) for run in runs(store)] == [("completed", 3, 3)]

    sweep_of(1, 2)
    assert last_state().is_completed() and prefect.see().tasks == []
    (*_, served) = runs(store)
    assert (served.state, served.known, served.done, served.total) == ("completed", 2, 2, 2), "not ?/?"

    none = sweep_of(10, 11)
    assert [record.status for record in none.trials] == ["failed", "failed"], "it is returned all the same"
    state = last_state()
    assert state.is_failed() and state.message == "no loss from 2 trials: 2 failed"
    (*_, failed) = runs(store)
    assert (failed.state, failed.reason) == ("failed", state.message)

    jobs = multirun({"x": 0}, _fails, ["x=1,2"], store=store.root)
    assert [job.status for job in jobs] == ["failed", "failed"]
    assert last_state().is_failed() and last_state().message == "2 jobs, 2 of them failed"


def test_a_plan_is_handed_to_one_flow_and_to_none_after_it(prefect: Any, store: Store) -> None:
    one, other = (
        ["workload=landscape", "steps=5", f"x={x}", override("store", str(store.root))] for x in (0.1, 0.2)
    )
    with orchestrate.planned_ahead(prepare_trials(one, SweepOptions())):
        assert [trial.config["x"] for trial in sweep(one).trials] == [0.1]
        assert [trial.config["x"] for trial in sweep(other).trials] == [0.2]


def test_with_other_options_it_is_such_a_flow_still() -> None:
    again = sweep.with_options(name="mine", retries=1)
    assert type(again) is orchestrate.SweepFlow and (again.name, again.retries) == ("mine", 1)
    assert again.fn is sweep.fn and again.on_failure_hooks == sweep.on_failure_hooks


def _fails(config: Any) -> None:
    raise ValueError(config.x)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"", DATABASE_AWAY], ids=["server", "database"])
def test_a_server_that_is_away_at_the_end_is_waited_for(
    answer: bytes,
    to_server: Line,
    prefect: Any,
    store: Store,
    sweep_of: SweepOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        (*_, run) = runs(store)
        assert run.state == "running"
        to_server.mend()

    away_after(trials_sweep, "_find", lambda: to_server.cut(answer), monkeypatch)
    monkeypatch.setattr(waiting, "say", hear)
    assert sweep_of(1, 10).best is not None
    (line_of_text,) = said
    assert line_of_text.startswith(
        "waiting for Prefect's server, for 10 min at most; what is done is in the store"
    )
    seen = prefect.see(ended=1)
    assert seen.run.state.name == "Completed" and seen.run.state.message.startswith("1 of 2 trials is sound")
    assert "loss" in seen.artifact("sweep-results")["description"]
    assert [run.state for run in runs(store)] == ["completed"]


@pytest.mark.server
@pytest.mark.slow
def test_a_batch_that_the_server_is_away_for_waits_for_it(
    to_server: Line, sweep_of: SweepOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Task runs ask the server for slots of their tags before they begin."""
    monkeypatch.setenv("PREFECT_CLIENT_MAX_RETRIES", "0")
    refresh_global_settings_context()
    heard: list[BaseException] = []
    to_wait = ServerWatch.is_to_wait

    def hear(watch: ServerWatch, error: BaseException) -> bool:
        heard.append(error)
        to_server.mend()
        return to_wait(watch, error)

    monkeypatch.setattr(ServerWatch, "is_to_wait", hear)
    monkeypatch.setattr(away, "ASK_SECONDS", 0.1)
    away_after(trials_sweep, "prepare_trials", to_server.cut, monkeypatch)
    assert sweep_of(1, 2).sound
    # Once, or again where the server is slow to be back.
    assert {type(error) for error in heard} == {ConcurrencySlotAcquisitionError}
    assert is_away(pickle.loads(pickle.dumps(heard[0]))), "as it comes from another process"
    assert last_state().is_completed()


@pytest.mark.server
@pytest.mark.slow
def test_a_server_that_stays_away_is_told_later(
    to_server: Line,
    store: Store,
    sweep_of: SweepOf,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(orchestrate, "AWAY_SECONDS", 0.5)
    with monkeypatch.context() as patch:
        away_after(trials_sweep, "_find", to_server.cut, patch)
        assert sweep_of(1, 10).best is not None, "what was found is worth more"
    assert "once it answers: sweepflow cleanup --yes" in capsys.readouterr().err
    assert [run.state for run in runs(store)] == ["completed"]
    said: list[str] = []
    assert "untold run" not in [item.kind for item in leftovers(store, said.append)]
    assert any("were not compared" in text for text in said)

    to_server.mend()
    assert last_state().is_running()
    found = [item for item in leftovers(store, said.append) if item.kind == "untold run"]
    assert [item.why for item in found] == [
        "its file says completed, Prefect says Running; Prefect is told the end"
    ]
    with monkeypatch.context() as patch:
        patch.setattr(compared, "_rows", lambda records: later_attempt(rows(records)))
        assert "untold run" not in [item.kind for item in leftovers(store, said.append)], "it may be at work"
    assert remove(found) == []
    state = last_state()
    assert state.is_completed() and (state.message or "").startswith("1 of 2 trials is sound")
    assert "untold run" not in [item.kind for item in leftovers(store, said.append)]

    # And the reverse: the end did not reach the file.
    (run,) = runs(store)
    write_run(store, run.model_copy(update={"state": "running", "pid": 2**22 + 1}))
    found = [item for item in leftovers(store, said.append) if item.kind in ("untold run", "dead run")]
    assert [item.kind for item in found] == ["untold run"] and remove(found) == []
    assert [run.state for run in runs(store)] == ["completed"]


rows = compared._rows


def later_attempt(found: dict[str, Any]) -> dict[str, Any]:
    """Rows of runs that somebody has just begun to go on with."""
    return {i: row.model_copy(update={"run_count": row.run_count + 1}) for i, row in found.items()}


@pytest.mark.server
@pytest.mark.slow
def test_what_is_done_is_in_tables_however_a_sweep_ends(
    store: Store,
    sweep_of: SweepOf,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    away_after(trials_sweep, "run_trials", interrupt, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sweep_of(1, 2, 10)
    assert "2 of 3 trials are sound; best loss 1" in capsys.readouterr().err
    (directory,) = store.paths.sweep("any").parent.iterdir()
    with (directory / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    assert (directory / "report.html").exists() and last_state().is_crashed()


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_sweep_that_only_fails_is_ended_with_what_it_has(
    store: Store, sweep_of: SweepOf, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that runs then, and would for long, is ended with it, and has no record."""
    with pytest.raises(TooManyFailuresError, match="12 calls in a row failed alike"):
        sweep_of(1, *range(18, 40), max_failures=12)
    assert "1 of 13 trials is sound" in capsys.readouterr().err
    assert len(list(store.records("trl"))) == 13
    state = last_state()
    assert state.is_failed() and "10 of 23 trials not run" in (state.message or "")
    assert [run.state for run in runs(store)] == ["failed"]


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("status", ["failed", "ok"])
def test_a_trial_that_ends_while_a_sweep_is_ended_counts_as_run(prefect: Any, status: Status) -> None:
    def record(number: int, status: Status) -> Record:
        return Record(f"trl_{number}", "walks", 1, status, ("exit code 1",), {}, {})

    @flow
    def sweep_that_is_ended() -> None:
        with SweepProgress("a sweep", (f"trl_{n}" for n in range(9)), 9, 0, max_failures=2) as progress:
            try:
                progress.trial_done(record(0, "failed"))
                progress.trial_done(record(1, "failed"))
                progress.now("", 0, ("", 0.0))
            finally:  # it waits for what it has begun
                progress.trial_done(record(2, status))

    with pytest.raises(TooManyFailuresError, match=r"2 calls in a row .* 6 of 9 trials not run"):
        sweep_that_is_ended()


def away_after(module: Any, name: str, then: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Let something happen when a function of a flow's has returned."""
    original = getattr(module, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        then()
        return found

    patch.setattr(module, name, call)
