"""What Prefect says of batches that nobody ends is made true, on a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.states import Completed, Failed, Running

from sweepflow.flows.runs.reconcile import StatesWarning, close_task_runs, open_task_runs, read_flow_run
from tests.prefect_server import Machine, isolated
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]


@flow
def nothing() -> None:
    """A flow whose runs the tests create."""


@task
def batch() -> None:
    """A task whose runs the tests create."""


def started(batches: int) -> tuple[UUID, list[UUID]]:
    """A running flow run with running task runs, as a killed process leaves them."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(nothing, state=Running())
        made = [
            client.create_task_run(batch, flow_run_id=run.id, dynamic_key=str(i), state=Running())
            for i in range(batches)
        ]
        return run.id, [one.id for one in made]


def states_of(ids: list[UUID]) -> list[tuple[str, str | None]]:
    with get_client(sync_client=True) as client:
        found = [client.read_task_run(i).state for i in ids]
    return [(str(state.name), state.message) for state in found if state is not None]


def test_every_batch_gets_an_end(prefect: Any) -> None:
    run, (done, lost, told) = started(3)
    _, (foreign,) = started(1)
    with get_client(sync_client=True) as client:
        client.set_task_run_state(done, Completed(message="by itself"), force=True)

    how = {told: Failed(message="it ended its workers"), done: Failed(message="never")}
    assert close_task_runs(run, how, reason="its worker was lost", settle_seconds=0) == 2

    assert states_of([done, lost, told]) == [
        ("Completed", "by itself"),
        ("Crashed", "its worker was lost"),
        ("Failed", "it ended its workers"),
    ]
    assert states_of([foreign])[0][0] == "Running", "another flow run's"
    assert close_task_runs(run, settle_seconds=0) == 0


def test_more_batches_than_a_page_has(prefect: Any) -> None:
    run, ids = started(205)
    assert close_task_runs(run, settle_seconds=0) == 205
    with get_client(sync_client=True) as client:
        assert open_task_runs(client, run) == []
    assert len(ids) == 205


def test_a_state_that_is_on_its_way_is_waited_for(prefect: Any) -> None:
    run, (late,) = started(1)

    def arrive() -> None:
        with get_client(sync_client=True) as client:
            client.set_task_run_state(late, Completed(), force=True)

    timer = threading.Timer(1.0, arrive)
    timer.start()
    assert close_task_runs(run, settle_seconds=20) == 0
    timer.join()
    assert states_of([late])[0][0] == "Completed"


def test_a_run_that_prefect_does_not_have(prefect: Any) -> None:
    assert read_flow_run(uuid4()) is None
    assert close_task_runs(uuid4()) == 0


def test_a_server_that_is_away_for_good_ends_nothing(prefect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    refresh_global_settings_context()
    with pytest.warns(StatesWarning, match="Prefect may say"):
        assert close_task_runs(uuid4(), deadline_seconds=2) == 0


@pytest.mark.timeout(400)
def test_a_server_that_is_away_and_comes_back(
    prefect: Any, tmp_path: Path, new_home: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of its own, stopped and started on one database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    machine = Machine(tmp_path, isolated(new_home(tmp_path / "prefect home")))
    url = f"http://127.0.0.1:{port}/api"

    def serve() -> Any:
        server = machine.start(
            "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"
        )
        server.wait_for(lambda _: _answers(url), 180)
        return server

    try:
        server = serve()
        monkeypatch.setenv("PREFECT_API_URL", url)
        refresh_global_settings_context()
        run, ids = started(2)
        server.end()
        closed: list[int] = []
        closing = threading.Thread(
            target=lambda: closed.append(close_task_runs(run, settle_seconds=0, deadline_seconds=180))
        )
        closing.start()
        closing.join(5)
        assert closing.is_alive(), "it waits for the server"
        serve()
        closing.join(PATIENCE)
        assert closed == [2]
        assert {name for name, _ in states_of(ids)} == {"Crashed"}
    finally:
        machine.end()


def _answers(url: str) -> bool:
    from sweepflow.flows.server.embedded import silence

    return silence(url) is None
