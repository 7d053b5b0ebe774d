"""The command `sweepflow`, started as a user starts it."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepflow.storage.store import Store
from tests.prefect_server import BIN, NO_SERVER, TINY, Machine
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]


def written(store: Store) -> dict[Path, int]:
    """Every file of every record, with the time of its writing."""
    return {path: path.stat().st_mtime_ns for path in store.root.glob("*/??/*")}


def record_ids(store: Store) -> list[str]:
    return [record.id for prefix in ("tgt", "est") for record in store.records(prefix)]


def rows_of(text: str) -> list[str]:
    """The first line of each estimate in the printed table."""
    return [line for line in text.splitlines() if line.startswith("seed=")]


def assert_whole(store: Store, targets: int, estimates: int) -> None:
    """As many whole records as there should be, and no stray file."""
    assert len(list(store.records("tgt"))) == targets
    assert len(list(store.records("est"))) == estimates
    for record_id in record_ids(store):
        assert store.arrays(record_id)
    assert len(written(store)) == 2 * (targets + estimates), "a stray file"


def test_help_is_there_before_anything_is_imported(machine: Machine) -> None:
    code, text = machine.run("sweepflow", "--help")
    assert code == 0
    for command in [
        "llc",
        "plan",
        "verify",
        "sweep",
        "samples",
        "train",
        "compare",
        "targets",
        "estimates",
        "trials",
        "show",
        "rm",
        "doctor",
        "runs",
        "resume",
        "cancel",
        "cleanup",
    ]:
        assert f"  {command} " in text


def test_a_sweep_from_the_first_command_to_the_last(
    office: Machine, typed: Callable[..., tuple[int, str]]
) -> None:
    here = office.directory
    store = Store(office.directory / "sweepflow-data")
    sweep = [*TINY, "target.seed=1,2", "sampler.seed=1,2"]

    code, text = typed(here, "plan", *sweep)
    assert code == 0
    assert "2 targets, 4 estimates; 0 of 6 trials are in the store, 6 to run in 2 batches" in text
    assert not written(store)
    assert typed(here, "llc", "--dry-run", *sweep) == (0, text)
    assert not written(store)

    code, text = office.run("sweepflow", "llc", *sweep)
    assert code == 0, text
    assert "batches 2/2, trials 6/6, 0 from the store" in text
    assert len(rows_of(text)) == 4
    assert_whole(store, 2, 4)
    (directory,) = store.paths.sweep("x").parent.iterdir()
    with (directory / "results.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == json.loads((directory / "manifest.json").read_text())["estimates"]
    assert {(row["target.seed"], row["sampler.seed"]) for row in rows} == {
        (target, sampler) for target in "12" for sampler in "12"
    }
    assert str(directory / "report.html").removeprefix(f"{office.directory}/") in text

    before = written(store)
    code, again = office.run("sweepflow", "llc", *sweep, PREFECT_API_URL=NO_SERVER)
    assert code == 0, again
    assert rows_of(again) == rows_of(text)
    assert written(store) == before
    code, text = typed(here, "plan", *sweep)
    assert "6 of 6 trials are in the store, 0 to run in 0 batches" in text

    target, *_, estimate = record_ids(store)
    code, text = typed(here, "targets")
    assert code == 0 and target in text and estimate not in text
    code, text = typed(here, "estimates")
    assert code == 0 and estimate in text
    code, text = typed(here, "show", estimate[:12])
    assert code == 0
    assert json.loads(text)["id"] == estimate
    code, text = typed(here, "show", "est_nothing")
    assert code == 2 and "no such record" in text
    code, text = typed(here, "rm", estimate)
    assert code == 1 and "Remove 1 from" in text
    assert store.get(estimate) is not None, "it did not ask"
    code, text = typed(here, "rm", "--yes", estimate)
    assert code == 0 and store.get(estimate) is None
    assert_whole(store, 2, 3)


def test_each_stream_has_what_was_asked_for(office: Machine) -> None:
    """Results on one of them, as JSON; progress and the log on the other, as the options say."""

    def run(*options: str) -> tuple[dict[str, Any], str]:
        command = [str(BIN / "sweepflow"), "llc", *TINY, "--json", *options]
        # The options win over both.
        unwilling = {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
        environment = {**office.environment, **unwilling}
        done = subprocess.run(
            command, cwd=office.directory, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    found, said = run("--quiet")
    assert not said
    again, said = run("--log-level", "info", "target.seed=1")
    assert "trials 2/2, 0 from the store" in said
    assert "INFO" in said and "Beginning flow run" in said and "httpx" not in said
    assert [len(sweep["estimates"]) for sweep in (found, again)] == [1, 1] and found["name"] != again["name"]


BAD: dict[str, tuple[list[str], list[str]]] = {
    "a typo in a key": (["sampler.stepsize=1e-3"], ["sampler.stepsize", "step_size"]),
    "a typo in a group": (["samplr=hmc"], ["samplr", "did you mean 'sampler'?"]),
    "an unknown option": (["sampler=hcm"], ["hcm", "did you mean 'sampler=hmc'?"]),
    "a value out of range": (["data.n_data=0"], ["data.n_data", "greater than 0", "0"]),
    "no rows to learn from": (["data=file", "data.path=gap.csv", "data.task=regression"], ["gap.csv", "3"]),
    "an empty sweep": (["sampler=glob(zzz*)"], ["sampler", "no values"]),
    "one value twice": (["target.seed=1,1"], ["target.seed", "twice"]),
    "a store that is a file": (["store=gap.csv"], ["store", "gap.csv"]),
}


@pytest.mark.parametrize(("overrides", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_ends_with_one_screen_and_2(
    tmp_path: Path, typed: Callable[..., tuple[int, str]], overrides: list[str], words: list[str]
) -> None:
    (tmp_path / "gap.csv").write_text("x,y\n1,2\n3,nan\n5,6\n")
    before = sorted(tmp_path.iterdir())
    code, text = typed(tmp_path, "llc", *overrides)
    assert code == 2, text
    assert text.startswith("error: ") and len(text.splitlines()) <= 24
    for word in words:
        assert word in text
    assert sorted(tmp_path.iterdir()) == before


def test_a_server_that_is_not_there_is_said_on_one_screen(machine: Machine) -> None:
    code, text = machine.run("sweepflow", "llc", *TINY, PREFECT_API_URL=NO_SERVER)
    assert code == 2
    assert text.startswith("error: ") and len(text.splitlines()) <= 4
    assert NO_SERVER in text and "prefect server start" in text


def test_a_batch_that_fails_is_said_on_one_screen(office: Machine) -> None:
    store = Store(office.directory / "sweepflow-data")
    assert office.run("sweepflow", "llc", *TINY)[0] == 0
    (target,) = store.records("tgt")
    (arrays,) = store.paths.record(target.id).parent.glob(f"{target.id}.*.safetensors")
    arrays.write_bytes(bytes(arrays.stat().st_size))

    code, text = office.run("sweepflow", "llc", *TINY, "sampler.seed=7")

    assert code == 1
    assert "error: 1 of 2 trials have no result" in text and f"sweepflow rm {target.id}" in text
    assert "Traceback" not in text and len(text.splitlines()) <= 12
    assert office.run("sweepflow", "rm", "--yes", target.id)[0] == 0
    assert office.run("sweepflow", "llc", *TINY, "sampler.seed=7")[0] == 0


def test_a_step_that_is_far_too_large_is_a_result(
    office: Machine, typed: Callable[..., tuple[int, str]]
) -> None:
    sweep = [*TINY, "sampler.step_size=1e3", "data.noise_scale=0.1", "target.seed=1,2"]
    code, text = office.run("sweepflow", "llc", *sweep)
    assert code == 1
    store = Store(office.directory / "sweepflow-data")
    assert_whole(store, 2, 2)
    assert [record.status for record in store.records("est")] == ["diverged"] * 2
    assert text.count("diverged") >= 2 and "report.html" in text and "Traceback" not in text
    code, _ = typed(office.directory, "llc", *sweep)
    assert code == 1, "the second time knows it too"


def test_a_record_cut_in_half_is_computed_again(office: Machine) -> None:
    store = Store(office.directory / "sweepflow-data")
    assert office.run("sweepflow", "llc", *TINY)[0] == 0
    (estimate,) = store.records("est")
    path = store.paths.record(estimate.id)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    code, text = office.run("sweepflow", "llc", *TINY)

    assert code == 0, text
    assert "trials 1/1, 1 from the store" in text
    assert "is passed over" in text
    again = store.get(estimate.id)
    assert again is not None and again.figures == estimate.figures


def test_two_copies_of_one_command_at_once(office: Machine) -> None:
    store = Store(office.directory / "sweepflow-data")
    sweep = [*TINY, "target.seed=range(1,9)", "runner.batch_size=2"]
    both = [office.start("sweepflow", "llc", *sweep) for _ in range(2)]
    for running in both:
        assert running.process.wait(PATIENCE) == 0, running.text
    assert_whole(store, 8, 8)
    assert not list(store.root.rglob("*.tmp"))
    first, second = (rows_of(running.text) for running in both)
    assert first == second and len(first) == 8


def test_two_machines_without_a_server_at_once(machine: Machine) -> None:
    """Two embedded servers share one database file, which the first of them makes."""
    home = str(machine.directory / "a first Prefect home")
    both = [
        machine.start(
            "sweepflow", "llc", *TINY, f"target.seed={seed}", f"store=store {seed}", PREFECT_HOME=home
        )
        for seed in (1, 2)
    ]
    for seed, running in enumerate(both, 1):
        assert running.process.wait(PATIENCE) == 0, running.text
        assert "locked" not in running.text
        assert_whole(Store(machine.directory / f"store {seed}"), 1, 1)
