"""Runs of deployments on a process work pool: by hand, by a schedule, on every runner, and disturbed."""

from __future__ import annotations

import datetime
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from sweepflow.flows.runs.record import runs
from sweepflow.storage.store import Store
from tests.flows.cli.held import Hold
from tests.prefect_server import ROOT, TINY, Machine, Running, isolated
from tests.slurm.cluster import Cluster
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]
FILE = ROOT / "deployments" / "prefect.yaml"
HEAD = FILE.read_text().split("\nname:")[0]
WALK = ["workload=landscape", "steps=5"]
OWN = """
from prefect import flow
from sweepflow import multirun

def area(cfg):
    return cfg.width * cfg.height

@flow
def areas(store: str) -> list[int]:
    jobs = multirun({"width": 2, "height": 3}, area, ["width=1,2"], runner="dask", store=store)
    return [job.return_value for job in jobs]
"""
"""A researcher's own flow, in a file of its own."""


def ids(store: Path) -> list[str]:
    return [record.id for prefix in ("tgt", "est") for record in Store(store).records(prefix)]


def commands() -> list[str]:
    """The commands that the head of the file tells a reader to type."""
    return [line.lstrip("# ") for line in HEAD.splitlines() if line.startswith("#     ")]


@dataclass
class Office:
    """A checkout whose deployments are deployed, and a worker that was started in another directory."""

    checkout: Machine
    elsewhere: Machine
    api: str
    workers: list[Running] = field(default_factory=list)

    def work(self, **environment: str) -> Running:
        """Start a worker, in the place of the one before."""
        for worker in self.workers:
            worker.end()
        self.workers[:] = [self.elsewhere.start(*commands()[2].split(), **environment)]
        self.workers[0].wait_for(lambda said: "started!" in said)
        return self.workers[0]

    def run(self, *overrides: str, flow: str = "sweep/sweep", **more: Any) -> tuple[int, str]:
        """Run a deployment to its end: the exit code, and what was said."""
        parameters = {"overrides": overrides, **more} if overrides else more
        given = [w for k, v in parameters.items() for w in ("--param", f"{k}={json.dumps(v)}")]
        watch = ["--watch", "--watch-interval", "1", "--watch-timeout", f"{PATIENCE:.0f}"]
        code, text = self.checkout.run(
            "prefect", "deployment", "run", flow, *given, *watch, seconds=2 * PATIENCE
        )
        return code, f"{text}\n--- worker:\n{self.workers[0].text}"

    def ask(self, path: str, **content: Any) -> Any:
        """What Prefect's API answers."""
        return httpx.post(f"{self.api}/{path}", json=content, timeout=30).raise_for_status().json()

    def lost(self, flow_run: str) -> list[str]:
        """Why task runs of a flow run did not complete; their states come a moment after the flow's."""
        final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.ask("task_runs/filter", flow_runs={"id": {"any_": [flow_run]}})
            if all(run["state"]["type"] in final for run in found) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return [str(run["state"]["message"]) for run in found if run["state"]["type"] != "COMPLETED"]

    def newest(self, **where: Any) -> dict[str, Any]:
        """The flow run that began last."""
        begun = {"start_time": {"is_null_": False}, **where}
        return self.ask("flow_runs/filter", sort="START_TIME_DESC", limit=1, flow_runs=begun)[0]


@pytest.fixture(scope="module")
def deployed(api_url: str, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    create, deploy, _, _ = commands()
    environment = isolated(prefect_home, PREFECT_API_URL=api_url)
    logs, elsewhere = tmp_path_factory.mktemp("logs"), tmp_path_factory.mktemp("another place")
    office = Office(Machine(ROOT, environment, logs=logs), Machine(elsewhere, environment), api_url)
    try:
        code, text = office.checkout.run(*create.split())
        assert code == 0 or "already exists" in text, text
        code, text = office.checkout.run(*deploy.split())
        assert code == 0, text
        office.work()
        yield office
    finally:
        office.checkout.end()
        office.elsewhere.end()


def test_the_file_names_flows_that_workers_can_import() -> None:
    deployments = yaml.safe_load(FILE.read_text())["deployments"]
    assert [deployment["name"] for deployment in deployments] == ["llc", "sweep"]
    for deployment in deployments:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert f"\ndef {name}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert "pull" not in deployment and deployment["work_pool"]["name"] == "sweepflow"
        assert deployment["parameters"] == {"overrides": []}


@pytest.mark.timeout(400)
def test_a_deployment_run_does_what_the_shell_does(deployed: Office, office: Machine, tmp_path: Path) -> None:
    there, typed = tmp_path / "store of the deployment", tmp_path / "store of the shell"
    sweep = [*TINY, "target.seed=1,2"]
    code, text = deployed.run(*sweep, f"store={there}", flow="llc/llc")
    assert code == 0 and "Completed" in text, text

    # What cannot be run fails the flow run, with the shell's own words in the log.
    code, text = deployed.run("data.n_data=0", flow="llc/llc")
    assert code != 0, text
    deployed.workers[0].wait_for(lambda said: "data.n_data cannot be 0" in said)

    code, text = deployed.run(*WALK, "x=interval(0,1)", f"store={there}", samples=4)
    assert code == 0 and "Completed" in text, text
    assert len(list(Store(there).records("trl"))) == 4

    assert office.run("sweepflow", "llc", *sweep, f"store={typed}")[0] == 0
    assert ids(there) == ids(typed) and len(ids(typed)) == 4
    for record_id in ids(typed):
        ours, theirs = Store(there).get(record_id), Store(typed).get(record_id)
        assert ours is not None and theirs is not None
        assert ours.figures == theirs.figures and ours.config == theirs.config

    # The shell finds what the deployment has computed: nothing is left to do.
    code, text = office.run("sweepflow", "plan", *sweep, f"store={there}")
    assert code == 0 and "4 of 4 trials are in the store" in text


@pytest.mark.slurm
@pytest.mark.parametrize("runner", ["dask", "slurm"])
def test_no_worker_is_lost(deployed: Office, slurm: Cluster, tmp_path: Path, runner: str) -> None:
    more = ["runner.interface=lo", "runner.memory=256MB"] if runner == "slurm" else ["runner.workers=1"]
    if runner == "slurm":
        deployed.work(**slurm.environment)
    code, text = deployed.run(*WALK, "x=0.1,0.2", f"store={tmp_path}", f"runner={runner}", *more)
    assert code == 0 and "Completed" in text, text
    assert deployed.lost(deployed.newest()["id"]) == []
    assert runs(Store(tmp_path))[-1].lost == 0


def test_a_schedule_starts_a_run_of_an_entrypoint_that_is_a_file(deployed: Office, tmp_path: Path) -> None:
    """The module that Prefect makes of a file is one that no worker of Dask's can import."""
    # Later than `prefect deploy` takes on a busy machine: a schedule that begins in the past waits for a day.
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    overrides = [*WALK, "x=0.1,0.2", f"store={tmp_path}", "runner=dask", "runner.workers=1"]
    deploy = ["deploy", "flows/sweep.py:sweep", "--name", "nightly", "--pool", "sweepflow"]
    when = ["--interval", "86400", "--anchor-date", soon.isoformat()]
    given = ["--param", f"overrides={json.dumps(overrides)}"]
    code, text = deployed.checkout.run("prefect", "--no-prompt", *deploy, *when, *given)
    assert code == 0, text

    def ended() -> list[dict[str, Any]]:
        of = {"deployments": {"name": {"any_": ["nightly"]}}}
        found = deployed.ask("flow_runs/filter", sort="EXPECTED_START_TIME_ASC", limit=1, **of)
        return [run for run in found if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")]

    (run,) = until(ended, PATIENCE, lambda: deployed.workers[0].text)
    assert run["auto_scheduled"] and run["state_type"] == "COMPLETED", deployed.workers[0].text
    assert len(list(Store(tmp_path).records("trl"))) == 2
    assert deployed.lost(run["id"]) == [] and runs(Store(tmp_path))[-1].lost == 0
    code, text = deployed.checkout.run("prefect", "--no-prompt", "deployment", "delete", "sweep/nightly")
    assert code == 0, text  # and with it the runs that it would start


def test_functions_of_a_researchers_own_flow_travel(deployed: Office, tmp_path: Path) -> None:
    (deployed.elsewhere.directory / "areas.py").write_text(OWN)
    deploy = ["deploy", "areas.py:areas", "--name", "own", "--pool", "sweepflow"]
    code, text = deployed.elsewhere.run("prefect", "--no-prompt", *deploy)
    assert code == 0, text
    code, text = deployed.run(flow="areas/own", store=str(tmp_path))
    assert code == 0 and "Completed" in text, text
    assert runs(Store(tmp_path))[-1].lost == 0


def test_a_run_is_computed_once_and_outlives_its_worker(deployed: Office, tmp_path: Path) -> None:
    """Set to Crashed and to Scheduled, as by an automation, while its process lives; then the worker that
    reads its output is killed."""
    store = Store(tmp_path / "store")
    hold = Hold(tmp_path / "held", store.root)
    worker = deployed.work(**hold.environment())
    overrides = [*TINY, "target.seed=1,2,3,4", "runner.batch_size=1", "runner.workers=1"]
    given = ["--param", f"overrides={json.dumps([*overrides, f'store={store.root}'])}"]
    code, text = deployed.checkout.run("prefect", "deployment", "run", "llc/llc", *given)
    assert code == 0, text
    until(lambda: runs(store) and (runs(store)[-1].done or 0) >= 3, PATIENCE, lambda: worker.text)
    (before,) = runs(store)

    for kind in ("CRASHED", "SCHEDULED"):
        deployed.ask(f"flow_runs/{before.flow_run_id}/set_state", state={"type": kind}, force=True)
    worker.wait_for(lambda said: "another process is at this run already" in said)
    worker.wait_for(lambda said: "exited cleanly" in said or "aborted by orchestrator" in said)

    os.kill(worker.process.pid, signal.SIGKILL)
    hold.let_go()
    until(lambda: runs(store)[-1].state != "running", PATIENCE, lambda: str(runs(store)))
    (after,) = runs(store)
    assert (after.state, after.attempt, after.pid) == ("completed", 1, before.pid), after.reason
    assert len(ids(store.root)) == 8

    def final() -> list[dict[str, Any]]:
        found = deployed.ask("flow_runs/filter", flow_runs={"id": {"any_": [before.flow_run_id]}})
        return [run for run in found if run["state_type"] not in ("RUNNING", "PENDING")]

    (run,) = until(final, PATIENCE, lambda: "Prefect does not say that it has ended")
    assert run["state_type"] == "COMPLETED", run["state"]
    assert deployed.lost(before.flow_run_id) == []


def until(happened: Callable[[], Any], seconds: float, say: Callable[[], str]) -> Any:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, say()
        time.sleep(0.2)
    return found
