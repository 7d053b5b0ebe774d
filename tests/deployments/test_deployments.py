"""`prefect deployment run llc/llc` on a process work pool does what the shell does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sweepflow.store.store import Store
from tests.prefect_server import ROOT, TINY, Machine

pytestmark = [pytest.mark.server, pytest.mark.slow]
FILE = ROOT / "deployments" / "prefect.yaml"
HEAD = FILE.read_text().split("\nname:")[0]


def ids(store: Path) -> list[str]:
    return [record.id for prefix in ("tgt", "est") for record in Store(store).records(prefix)]


def commands() -> list[str]:
    """The commands that the head of the file tells a reader to type."""
    return [line.lstrip("# ") for line in HEAD.splitlines() if line.startswith("#     ")]


def test_the_file_names_flows_that_there_are() -> None:
    deployments = yaml.safe_load(FILE.read_text())["deployments"]
    assert [deployment["name"] for deployment in deployments] == ["llc", "sweep"]
    for deployment in deployments:
        path, name = deployment["entrypoint"].split(":")
        assert f"\ndef {name}(" in (ROOT / path).read_text()
        assert "pull" not in deployment and deployment["work_pool"]["name"] == "sweepflow"
        assert deployment["parameters"] == {"overrides": []}


@pytest.mark.timeout(400)
def test_a_deployment_run_does_what_the_shell_does(office: Machine, tmp_path: Path) -> None:
    create, deploy, work, _ = commands()
    deployed, typed = tmp_path / "store of the deployment", tmp_path / "store of the shell"
    sweep = [*TINY, "target.seed=1,2"]

    checkout = Machine(ROOT, office.environment, logs=office.directory)
    try:
        code, text = checkout.run(*create.split())
        assert code == 0 or "already exists" in text, text
        code, text = checkout.run(*deploy.split())
        assert code == 0, text
        worker = checkout.start(*work.split())
        worker.wait_for(lambda said: "started!" in said)

        def run(*overrides: str, flow: str = "llc/llc", **more: int) -> tuple[int, str]:
            parameters = {"overrides": overrides, **more}
            given = [w for k, v in parameters.items() for w in ("--param", f"{k}={json.dumps(v)}")]
            watch = ["--watch", "--watch-interval", "1", "--watch-timeout", "240"]
            return checkout.run("prefect", "deployment", "run", flow, *given, *watch, seconds=260)

        code, text = run(*sweep, f"store={deployed}")
        assert code == 0 and "Completed" in text, f"{text}\n--- worker:\n{worker.text}"

        # What cannot be run fails the flow run, with the shell's own words in the log.
        code, text = run("data.n_data=0")
        assert code != 0, f"{text}\n--- worker:\n{worker.text}"
        worker.wait_for(lambda said: "data.n_data cannot be 0" in said, 20)

        trials = ["workload=landscape", "x=interval(0,1)", "steps=5", f"store={deployed}"]
        code, text = run(*trials, flow="sweep/sweep", samples=4)
        assert code == 0 and "Completed" in text, f"{text}\n--- worker:\n{worker.text}"
        assert len(list(Store(deployed).records("trl"))) == 4
    finally:
        checkout.end()

    assert office.run("sweepflow", "llc", *sweep, f"store={typed}")[0] == 0
    assert ids(deployed) == ids(typed) and len(ids(typed)) == 4
    for record_id in ids(typed):
        ours, theirs = Store(deployed).get(record_id), Store(typed).get(record_id)
        assert ours is not None and theirs is not None
        assert ours.figures == theirs.figures and ours.config == theirs.config

    # The shell finds what the deployment has computed: nothing is left to do.
    code, text = office.run("sweepflow", "plan", *sweep, f"store={deployed}")
    assert code == 0 and "4 of 4 trials are in the store" in text
