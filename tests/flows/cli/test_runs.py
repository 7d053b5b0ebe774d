"""resume, runs, cancel: sweeps that are killed, stopped and cancelled, and go on as the same flow run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas import SetStateStatus
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry

from sweepflow.flows.runs.reconcile import open_task_runs
from sweepflow.flows.runs.record import RunRecord, runs
from sweepflow.storage.store import Store
from tests.flows.cli.held import Hold
from tests.prefect_server import ROOT, TINY, Machine, Running
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600)]

ONE_AT_A_TIME = ["target.seed=1,2", "sampler.seed=1,2", "runner.batch_size=1", "runner.workers=1"]


def four_estimates(seed: int) -> list[str]:
    """Two targets with two estimates each, one after the other.

    Args:
        seed: Of the data: another one each test, since what Prefect remembers of one store is no other's.
    """
    return [*TINY, *ONE_AT_A_TIME, f"data.seed={seed}"]


def store_of(machine: Machine) -> Store:
    return Store(machine.directory / "sweepflow-data")


def ids(store: Store) -> set[str]:
    return {record.id for prefix in ("tgt", "est") for record in store.records(prefix)}


def written(store: Store) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.root.glob("[te]*/??/*.json")}


def hold(machine: Machine) -> Hold:
    return Hold(machine.directory / "hold", store_of(machine).root)


def in_the_middle(machine: Machine, seed: int) -> tuple[Running, RunRecord]:
    """A sweep that is held in its fourth batch, and its run file."""
    running = machine.start("sweepflow", "llc", *four_estimates(seed), **hold(machine).environment())
    running.wait_for(lambda text: text.count("Completed") >= 3)
    (record,) = runs(store_of(machine))
    assert record.state == "running" and record.pid == running.process.pid
    return running, record


def history(record: RunRecord) -> tuple[FlowRun, list[State[Any]]]:
    """What Prefect has of a run, oldest state first."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(record.flow_run_id))
        states = client.read_flow_run_states(run.id)
    return run, sorted(states, key=lambda state: state.timestamp)


def names(record: RunRecord) -> list[str | None]:
    return [state.name for state in history(record)[1]]


def assert_nothing_runs(record: RunRecord) -> None:
    """Every batch has an end in Prefect; what is on its way is waited for."""
    with get_client(sync_client=True) as client:
        wait_until(lambda: not open_task_runs(client, record.flow_run_id))


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not happened in {seconds} s"
        time.sleep(0.1)


def test_a_killed_run_goes_on_as_the_same_flow_run(office: Machine, prefect: Any, tmp_path: Path) -> None:
    store = store_of(office)
    running, record = in_the_middle(office, 1)

    code, text = office.run("sweepflow", "resume", record.flow_run_id[:8])
    assert code == 2 and "the run is alive" in text and f"process {record.pid}" in text
    assert f"sweepflow cancel {record.flow_run_id[:8]}" in text
    code, text = office.run("sweepflow", "resume")
    assert (
        code == 0 and "nothing is unfinished" in text and f"still at work: {record.flow_run_id[:8]}" in text
    )

    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait(PATIENCE)
    code, text = office.run("sweepflow", "runs")
    assert code == 0 and record.flow_run_id[:8] in text and "crashed (no sign of life for" in text
    assert history(record)[0].state_name == "Running", "nobody was left to close it"
    before = written(store)
    assert 3 <= len(before) < 6

    elsewhere = Machine(tmp_path, office.environment)
    code, text = elsewhere.run("sweepflow", "resume", "--store", store.root)

    assert code == 0, text
    assert f"going on with {record.flow_run_id[:8]}" in text and "report:" in text and "seed=2" in text
    assert names(record) == ["Pending", "Running", "Crashed", "AwaitingRetry", "Running", "Completed"]
    run, states = history(record)
    assert run.run_count == 2
    assert "closed by `sweepflow resume`" in (states[2].message or "")
    assert f"process {record.pid} is gone" in (states[2].message or "")
    assert_nothing_runs(record)
    assert len(ids(store)) == 6
    assert {path: time for path, time in written(store).items() if path in before} == before
    (ended,) = runs(store)
    assert ended.state == "completed" and ended.attempt == 2 and ended.done == ended.total == 6

    code, text = office.run("sweepflow", "resume")
    assert code == 0 and "nothing is unfinished" in text and "still at work" not in text
    code, text = office.run("sweepflow", "resume", record.flow_run_id[:8])
    assert code == 0 and "has completed" in text
    code, text = office.run("sweepflow", "cancel", record.flow_run_id[:8])
    assert code == 0 and "has ended already: completed" in text


def test_of_two_resumes_one_wins(office: Machine, prefect: Any) -> None:
    running, record = in_the_middle(office, 2)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait(PATIENCE)
    held = hold(office).environment()
    both = [office.start("sweepflow", "resume", record.name, **held) for _ in range(2)]
    wait_until(lambda: any(one.process.poll() is not None for one in both))
    hold(office).let_go()
    codes = sorted(one.process.wait(PATIENCE) for one in both)
    said = "".join(one.text for one in both)
    assert codes == [0, 2], said
    assert "another process is going on with this run already" in said or "the run is alive" in said
    assert history(record)[0].run_count == 2 and len(ids(store_of(office))) == 6


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"]
)
def test_a_stopped_run_says_how_to_go_on(
    office: Machine, prefect: Any, sent: signal.Signals, code: int
) -> None:
    running, record = in_the_middle(office, 3 + code)
    os.kill(running.process.pid, sent)
    assert running.process.wait(PATIENCE) == code, running.text
    assert "stopped; what is done is kept" in running.text
    assert f"sweepflow resume {record.flow_run_id[:8]}\n" in running.text
    assert "Traceback" not in running.text
    assert names(record)[-1] == "Crashed"
    assert_nothing_runs(record)
    (ended,) = runs(store_of(office))
    assert ended.state == "crashed"

    ended_with, text = office.run("sweepflow", "resume", record.flow_run_id[:8])
    assert ended_with == 0, text
    assert names(record)[-1] == "Completed" and history(record)[0].run_count == 2


def test_a_cancelled_run_is_cancelled_in_prefect(office: Machine, prefect: Any) -> None:
    running, record = in_the_middle(office, 4)
    code, text = office.run("sweepflow", "cancel", record.flow_run_id[:8])
    assert code == 0 and "is cancelled; what is done is kept" in text, text
    assert running.process.wait(PATIENCE) == 143
    assert names(record)[-1] == "Cancelled" and "Cancelling" in names(record)
    assert_nothing_runs(record)
    code, text = office.run("sweepflow", "runs")
    assert "cancelled (cancelled by " in text

    code, text = office.run("sweepflow", "resume")
    assert code == 0, text
    assert names(record)[-1] == "Completed" and len(ids(store_of(office))) == 6


def test_a_run_with_a_server_of_its_own_is_cancelled_there(machine: Machine) -> None:
    running, record = in_the_middle(machine, 5)
    assert record.api_url is None
    code, text = machine.run("sweepflow", "cancel", record.name)
    assert code == 0 and "is cancelled" in text, text
    assert running.process.wait(PATIENCE) == 143
    ask = (
        "from sweepflow.flows.server.embedded import prefect_server\n"
        "from sweepflow.flows.runs.reconcile import read_flow_run\n"
        f"with prefect_server(): print('it is', read_flow_run('{record.flow_run_id}').state_name)"
    )
    code, text = machine.run("python", "-c", ask)
    assert "it is Cancelled" in text


def test_a_dead_run_is_closed_and_cancelled(office: Machine, prefect: Any) -> None:
    running, record = in_the_middle(office, 6)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait(PATIENCE)
    code, text = office.run("sweepflow", "cleanup")
    assert code == 0 and f"dead run  {record.flow_run_id[:8]}" in text and "--yes removes them" in text, text
    assert names(record)[-1] == "Running"
    assert runs(store_of(office))[0].state == "running", "it only shows"
    code, text = office.run("sweepflow", "cleanup", "--yes")
    assert code == 0 and f"lease     {record.flow_run_id[:8]} of " in text and "removed 2" in text, text
    assert names(record)[-1] == "Crashed"
    assert_nothing_runs(record)
    assert runs(store_of(office))[0].state == "crashed"
    code, text = office.run("sweepflow", "cleanup")
    assert code == 0 and "nothing is left behind" in text, text

    code, text = office.run("sweepflow", "cancel", record.flow_run_id[:8])
    assert code == 0 and "is cancelled" in text, text
    assert names(record)[-1] == "Cancelled"
    assert_nothing_runs(record)


def test_cancel_in_prefects_pages_ends_the_process(office: Machine, prefect: Any) -> None:
    """They do what `prefect flow-run cancel` does; without a worker, Prefect itself ends nothing."""
    running, record = in_the_middle(office, 7)
    code, text = office.run("prefect", "flow-run", "cancel", record.flow_run_id)
    assert code == 0, text
    assert running.process.wait(PATIENCE) == 143, running.text
    assert names(record)[-1] == "Cancelled"
    (ended,) = runs(store_of(office))
    assert (ended.state, ended.reason) == ("cancelled", "cancelled in Prefect")


def test_prefects_own_retry_goes_on_too(office: Machine, prefect: Any) -> None:
    """Of a run without a deployment it needs the flow's file, and runs it in its own process."""
    running, record = in_the_middle(office, 8)
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(PATIENCE)
    with get_client(sync_client=True) as client:  # what Retry in the pages asks for
        answer = client.set_flow_run_state(UUID(record.flow_run_id), AwaitingRetry())
    assert answer.status is SetStateStatus.ABORT
    assert "without an associated deployment" in (answer.details.reason or "")
    code, text = office.run("prefect", "flow-run", "retry", record.flow_run_id)
    assert code != 0 and "entrypoint" in text
    entrypoint = f"{ROOT / 'flows' / 'llc.py'}:llc"
    code, text = office.run("prefect", "flow-run", "retry", record.flow_run_id, "--entrypoint", entrypoint)
    assert code == 0, text
    assert history(record)[0].run_count == 2 and names(record)[-1] == "Completed"
    assert len(ids(store_of(office))) == 6
    assert runs(store_of(office))[0].attempt == 2


def test_where_prefect_has_lost_the_run_it_is_a_new_one(office: Machine, prefect: Any) -> None:
    running, record = in_the_middle(office, 9)
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(PATIENCE)
    with get_client(sync_client=True) as client:
        client.delete_flow_run(UUID(record.flow_run_id))
    code, text = office.run("sweepflow", "resume")
    assert code == 0 and "it is a new flow run" in text, text
    old, new = runs(store_of(office))
    assert old.flow_run_id == record.flow_run_id and old.successor == new.flow_run_id
    assert new.state == "completed" and new.parameters == old.parameters
    assert len(ids(store_of(office))) == 6
    code, text = office.run("sweepflow", "resume")
    assert code == 0 and "nothing is unfinished" in text
    code, text = office.run("sweepflow", "runs")
    assert f"gone on with as {new.flow_run_id[:8]}" in text


def test_a_deployments_run_is_gone_on_with_by_its_worker(
    office: Machine, prefect: Any, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    held = Hold(tmp_path / "hold", store.root)
    environment = {**office.environment, **held.environment()}
    checkout = Machine(ROOT, environment, logs=office.directory)
    try:
        code, text = checkout.run("prefect", "work-pool", "create", "sweepflow", "--type", "process")
        assert code == 0 or "already exists" in text, text
        deploy = "prefect --no-prompt deploy --prefect-file deployments/prefect.yaml --name llc"
        code, text = checkout.run(*deploy.split())
        assert code == 0, text
        worker = checkout.start("prefect", "worker", "start", "--pool", "sweepflow")
        worker.wait_for(lambda said: "started!" in said)
        overrides = json.dumps([*four_estimates(10), f"store={store.root}"])
        code, text = checkout.run(
            "prefect", "deployment", "run", "llc/llc", "--param", f"overrides={overrides}"
        )
        assert code == 0, text
        wait_until(lambda: len(ids(store)) >= 3 and runs(store))
        (record,) = runs(store)
        assert record.deployment_id is not None

        os.kill(record.pid, signal.SIGKILL)
        wait_until(lambda: history(record)[0].state_name == "Crashed")  # the worker has seen it
        held.let_go()
        code, text = office.run("sweepflow", "resume", record.flow_run_id[:8], "--store", store.root)
        assert code == 0 and "a worker of its deployment goes on with it" in text, text
        wait_until(lambda: history(record)[0].state_name == "Completed")
        assert history(record)[0].run_count == 2 and len(ids(store)) == 6
        assert_nothing_runs(record)

        # Retry in Prefect's pages and in its command is the same request, and finds nothing left to do.
        code, text = office.run("prefect", "flow-run", "retry", record.flow_run_id)
        assert code == 0, text
        wait_until(lambda: history(record)[0].run_count == 3)
        wait_until(lambda: history(record)[0].state_name == "Completed")
        assert runs(store)[0].attempt == 3
    finally:
        checkout.end()
