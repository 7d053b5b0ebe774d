"""The PostgreSQL of Prefect's server is stopped over the end of a sweep; the server itself stays up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import sweepflow.flows.orchestrate as sweep_flow
from sweepflow.flows.runs import compared
from sweepflow.flows.runs.heartbeat import latest
from sweepflow.flows.runs.leftovers import leftovers, remove
from sweepflow.flows.runs.record import runs
from sweepflow.storage.store import Store
from tests.flows.faults.gates import gated, let_go
from tests.flows.faults.lab import Lab
from tests.postgres import ServerOnPostgres
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow]

TRIALS = 3


@pytest.fixture
def lab(store: Store, prefect_on_postgres: Any) -> Lab:
    """A laboratory whose Prefect keeps what it knows in PostgreSQL."""
    return Lab(store, prefect_on_postgres)


def at_the_last_batch(lab: Lab, stop: Callable[[], None]) -> None:
    """Let something happen while a sweep's last batch runs, and then let that end."""
    let_go(lab, range(TRIALS - 1))
    wait_for(lambda: len(lab.written()) == TRIALS - 1, "all batches are done but one")
    wait_for(lambda: len(lab.begun()) == TRIALS, "the last batch is at work")
    stop()
    let_go(lab, [TRIALS - 1])


def test_a_database_that_is_away_over_the_end_of_a_sweep_is_waited_for(
    lab: Lab, server_on_postgres: ServerOnPostgres, capfd: pytest.CaptureFixture[str]
) -> None:
    postgres = server_on_postgres.postgres

    def waiting() -> str:
        beat = latest()
        return beat.record.waiting or "" if beat is not None and beat.store.root == lab.store.root else ""

    def disturb() -> None:
        at_the_last_batch(lab, postgres.stop)
        wait_for(waiting, "it waits for the server", until=lambda why: "Prefect's server" in why)
        postgres.start()

    found = lab.sweep(gated(lab, TRIALS), meanwhile=disturb)
    assert found.sound and len(found.trials) == TRIALS
    assert "waiting for Prefect's server, for 10 min at most" in capfd.readouterr().err
    assert [(run.state, run.done) for run in runs(lab.store)] == [("completed", TRIALS)]
    seen = lab.prefect.see(ended=TRIALS)
    assert seen.run.state.name == "Completed" and seen.artifact("sweep-results")
    assert [task.state.name for task in seen.tasks] == ["Completed"] * TRIALS


def test_a_database_that_stays_away_is_told_by_cleanup(
    lab: Lab, server_on_postgres: ServerOnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_flow, "AWAY_SECONDS", 0.5)
    monkeypatch.setattr(compared, "ASK_SECONDS", 1.0)
    postgres = server_on_postgres.postgres
    found = lab.sweep(gated(lab, TRIALS), meanwhile=lambda: at_the_last_batch(lab, postgres.stop))
    assert found.sound and len(found.trials) == TRIALS, "what was found is worth more"
    assert [run.state for run in runs(lab.store)] == ["completed"]
    said: list[str] = []
    assert "untold run" not in [item.kind for item in leftovers(lab.store, said.append)]
    assert any("were not compared" in text for text in said), said

    postgres.start()
    untold = [item for item in leftovers(lab.store, said.append) if item.kind == "untold run"]
    assert [item.why for item in untold] == [
        "its file says completed, Prefect says Running; Prefect is told the end"
    ]
    assert remove(untold) == []
    seen = lab.prefect.see()
    assert seen.run.state.name == "Completed"
    assert all(task.state.is_final() for task in seen.tasks)
