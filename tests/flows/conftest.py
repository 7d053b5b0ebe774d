"""Flows and commands in the tests' own process, flows with the tests' own Prefect server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterStartTime
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.context import refresh_global_settings_context
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.states import State
from typer.testing import CliRunner

from tests.postgres import ServerOnPostgres
from tests.prefect_server import NO_SERVER, isolated
from tests.slurm.processes import PATIENCE


@dataclass(frozen=True)
class Seen:
    """What Prefect's API says of a flow run after its end."""

    run: FlowRun
    tasks: list[TaskRun]
    artifacts: list[dict[str, Any]]

    def names(self) -> list[str]:
        return sorted(task.name for task in self.tasks)

    def task(self, beginning: str) -> TaskRun:
        """The one task run whose name starts so."""
        (found,) = [task for task in self.tasks if task.name.startswith(beginning)]
        return found

    def artifact(self, key: str) -> dict[str, Any]:
        (found,) = [artifact for artifact in self.artifacts if artifact["key"] == key]
        return found


class Prefect:
    """Questions to the server."""

    def see(self, state: State[Any] | None = None, ended: int | None = None) -> Seen:
        """The flow run that ended in `state`, or the newest one.

        Task-run states reach the database a moment later than the flow's end; all of them are waited for,
        and `ended` of them at least.
        """
        run_id = self.newest() if state is None else state.state_details.flow_run_id
        assert run_id is not None
        runs = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
        deadline = time.monotonic() + PATIENCE
        with get_client(sync_client=True) as client:
            while True:
                tasks = client.read_task_runs(
                    flow_run_filter=runs, sort=TaskRunSort.EXPECTED_START_TIME_ASC, limit=200
                )
                done = [task for task in tasks if task.state is not None and task.state.is_final()]
                if (len(done) == len(tasks) and len(done) >= (ended or 0)) or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            of_this_run = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}}
            artifacts = httpx.post(f"{client.api_url}artifacts/filter", json=of_this_run).raise_for_status()
            return Seen(client.read_flow_run(run_id), tasks, artifacts.json())

    def newest(self) -> UUID:
        """The flow run that began last; one that a schedule has in store, Prefect would put before it."""
        begun = FlowRunFilter(start_time=FlowRunFilterStartTime(is_null_=False))
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(flow_run_filter=begun, sort=FlowRunSort.START_TIME_DESC, limit=1)
            return found[0].id


@pytest.fixture(scope="session")
def connection(api_url: str) -> Iterator[str]:
    """The server's address; what this process still has to tell it is told before the server ends."""
    yield api_url
    _tell()


@pytest.fixture
def prefect(connection: str, prefect_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prefect]:
    """Point this process's Prefect to the tests' server."""
    _settings(isolated(prefect_home, PREFECT_API_URL=connection), monkeypatch)
    yield Prefect()
    monkeypatch.undo()
    refresh_global_settings_context()


@pytest.fixture
def prefect_on_postgres(
    server_on_postgres: ServerOnPostgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Prefect]:
    """Point this process's Prefect to a server whose database is a PostgreSQL."""
    _tell()  # the tests' other server; what sends events goes on with the server that it began with
    _settings(server_on_postgres.environment, monkeypatch)
    yield Prefect()
    server_on_postgres.postgres.start()
    _tell()
    monkeypatch.undo()
    refresh_global_settings_context()


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, str]]]:
    """Type a command in a directory, where no server answers: its exit code, and all that it said.

    For commands that start no flow. In a process of its own, each would import JAX and Prefect anew.
    """
    environment = isolated(tmp_path / "no prefect", PREFECT_API_URL=NO_SERVER)
    # As the command would set them, for good, in this process.
    environment |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    _settings(environment, monkeypatch)
    monkeypatch.delenv("SWEEPFLOW_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", environment["COLUMNS"])

    def run(directory: Path, *command: str) -> tuple[int, str]:
        from sweepflow.flows.cli import app

        monkeypatch.chdir(directory)
        result = CliRunner().invoke(app, command)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    yield run
    monkeypatch.undo()
    refresh_global_settings_context()


def _tell() -> None:
    """Tell the server what this process still has for it."""
    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=10)


def _settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process's Prefect the settings of an environment, and no others."""
    for name in os.environ.keys() - environment.keys():
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("PREFECT_"):
            monkeypatch.setenv(name, value)
    refresh_global_settings_context()
