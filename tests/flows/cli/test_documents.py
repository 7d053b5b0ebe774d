"""What commands print for other programs: one JSON document each, with keys that stay."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweepflow.estimates.prepare import prepare
from sweepflow.flows.cli.documents import found_document, print_json
from sweepflow.flows.runners import checks
from sweepflow.flows.runs import leftovers
from sweepflow.flows.runs.record import write_run
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.verify import Tolerance, cases, compare
from tests.flows.cli.conftest import ReadJson
from tests.flows.runs.test_record import minutes_ago, record
from tests.prefect_server import ROOT, TINY

RECORD = {
    *("id", "workload", "version", "status", "reasons", "advice", "notes"),
    *("figures", "seconds", "config", "provenance"),
}
SWEEP = {"name", "command", "directory", "report", "sound", "missing", "headline"}
LLC = SWEEP | {"targets", "estimates"}
TRIALS = SWEEP | {"metric", "goal", "best", "notes", "trials"}
PLAN = {"name", "command", "store", "runner", "batches"}
BATCH = {"stage", "group", "number", "of", "trials"}
PLANNED = {"id", "known", "config"}
CHOSEN = PLANNED | {"group", "chosen", "command_line"}
VERIFIED = {
    *("case", "sampler", "truth", "llc", "llc_mcse"),
    *("error", "standard_errors", "within", "note"),
}
COMPARED = {"title", "sweeps", "report", "rows"}
CLEANUP = {"leftovers", "removed", "failures"}
LEFTOVER = {"kind", "name", "why", "age_seconds", "size_bytes", "run", "foreign"}
DOCTOR = {"well", "runner", "store", "here", "there"}
CHECK = {"name", "ok", "words", "remedy", "got", "allowed", "must"}
BEALE = ("workload=landscape", "landscape=beale", "steps=3")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store that commands of the test use."""
    return Store(tmp_path / "sweepflow-data")


def put(store: Store, trial_id: str, **changes: Any) -> Record:
    whole: dict[str, Any] = {"workload": "llc", "status": "ok", "reasons": (), "config": {}, "figures": {}}
    kept = Record(trial_id, version=1, **whole | changes)
    store.put(kept)
    return kept


def llc_records(store: Store) -> None:
    """Results of TINY's trials, as no sampler found them."""
    plan = prepare([*TINY, f"store='{store.root}'"]).plan
    (target,) = plan.targets
    for trial in (*plan.targets.values(), *plan.estimates.values()):
        figures = {"target_id": target, "llc": 1.5, "r_hat": None, "llc_chains": [1.0, 2.0]}
        kind, config = "target" if trial.id == target else "llc", trial.config.model_dump(mode="json")
        put(store, trial.id, workload=kind, config=config, figures=figures)


def test_json_has_no_number_that_is_not_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), np.float64("inf"), -1.5], "path": Path("λ"), "none": None})
    said = capsys.readouterr().out
    assert said.isascii() and json.loads(said) == {"a": [None, None, -1.5], "path": "λ", "none": None}
    print_json([1, {"a": 2}], indent=None)
    assert capsys.readouterr().out == '[1, {"a": 2}]\n'


@pytest.mark.parametrize(
    ("command", "prefix"), [("targets", "tgt"), ("estimates", "est"), ("trials", "trl"), ("jobs", "job")]
)
def test_lists_have_every_record_whole_the_newest_last(
    command: str, prefix: str, store: Store, read_json: ReadJson
) -> None:
    assert read_json(command) == []
    for number in range(300):
        written = {"written": f"2026-03-01T00:{59 - number // 60:02d}:{59 - number % 60:02d}+00:00"}
        put(store, f"{prefix}_{number:016x}", provenance=written, figures={"long": "x" * 300})
    listed = read_json(command)
    assert [row["id"] for row in listed] == [f"{prefix}_{n:016x}" for n in reversed(range(300))]
    assert {*listed[0]} == RECORD and listed[0]["figures"] == {"long": "x" * 300}


def test_an_estimate_that_others_exclude_is_flagged_in_lists(store: Store, read_json: ReadJson) -> None:
    for number, llc in enumerate((1.0, 9.0)):
        figures = {"target_id": "tgt_0", "nbeta": 1.0, "gamma": 1.0, "llc": llc}
        figures |= {"llc_low": llc - 0.1, "llc_high": llc + 0.1}
        put(store, f"est_{number:016x}", figures=figures, config={"sampler": {"kind": "hmc"}})
    assert [row["status"] for row in read_json("estimates")] == ["flagged", "flagged"]


def test_show_and_train_print_the_record(store: Store, read_json: ReadJson) -> None:
    trained = read_json("train", *BEALE, "-q")
    assert {*trained} == RECORD and trained["status"] == "ok"
    assert read_json("show", trained["id"]) == trained and read_json("trials") == [trained]


def test_an_llc_sweep_is_its_records(store: Store, read_json: ReadJson) -> None:
    planned = read_json("plan", *TINY)
    assert {*planned} == PLAN | {"targets", "estimates"} and {*planned["estimates"][0]} == PLANNED
    assert [trial["known"] for trial in (*planned["targets"], *planned["estimates"])] == [False, False]
    assert [batch["stage"] for batch in planned["batches"]] == ["build", "sample"]
    assert {*planned["batches"][0]} == BATCH
    assert planned["batches"][1]["trials"] == [planned["estimates"][0]["id"]]
    assert planned["store"] == str(store.root)
    llc_records(store)
    known = read_json("llc", "--dry-run", *TINY)
    assert known["batches"] == [] and known["estimates"] == [{**planned["estimates"][0], "known": True}]
    found = read_json("llc", *TINY)
    assert {*found} == LLC and found["name"] == planned["name"]
    assert found["sound"] is True and found["missing"] == []
    (estimate,), (target,) = found["estimates"], found["targets"]
    assert {*estimate} == {*target} == RECORD and estimate["figures"]["target_id"] == target["id"]
    assert estimate["figures"]["r_hat"] is None and estimate["figures"]["llc_chains"] == [1.0, 2.0]
    assert estimate["config"] == planned["estimates"][0]["config"]
    assert Path(found["report"]).is_file() and Path(found["report"]).parent == Path(found["directory"])


def test_a_hyperparameter_sweep_is_its_trials(store: Store, read_json: ReadJson, tmp_path: Path) -> None:
    sweep = [*BEALE, "x=0.5,1.0", "name=both"]
    first = read_json("train", *BEALE, "x=0.5")
    planned = read_json("sweep", "--dry-run", *sweep)
    assert {*planned} == PLAN | {"metric", "goal", "notes", "trials"}
    assert {*planned["trials"][0]} == CHOSEN
    assert [(trial["known"], trial["chosen"]) for trial in planned["trials"]] == [
        (True, {"x": 0.5}),
        (False, {"x": 1.0}),
    ]
    assert planned["trials"][0]["id"] == first["id"] and planned["trials"][0]["command_line"] is None
    assert [batch["trials"] for batch in planned["batches"]] == [[planned["trials"][1]["id"]]]
    second = read_json("train", *BEALE, "x=1.0")
    found = read_json("sweep", *sweep, "-q")
    assert {*found} == TRIALS
    assert found["trials"] == [first, second] and (found["metric"], found["goal"]) == ("loss", "minimize")
    by_loss = {row["figures"]["loss"]: row["id"] for row in found["trials"]}
    assert found["best"] == by_loss[min(by_loss)]
    with (Path(found["directory"]) / "runs.csv").open(newline="") as lines:
        assert [row["id"] for row in csv.DictReader(lines)] == [row["id"] for row in found["trials"]]

    read_json("sweep", *BEALE, "x=1.0", "name=one")
    compared = read_json("compare", "both", "one", "-o", "page.html")
    assert {*compared} == COMPARED and compared["sweeps"] == ["both", "one"]
    assert compared["report"] == str(tmp_path / "page.html") and (tmp_path / "page.html").is_file()
    assert {"what": "trials", "values": [2, 1]} in compared["rows"]


def test_the_command_line_of_a_program_is_in_its_plan(read_json: ReadJson) -> None:
    program = ["workload=command", "command='echo METRIC loss=1'", "metrics=[loss]", "args.n=1"]
    (trial,) = read_json("sweep", "--dry-run", *program)["trials"]
    assert trial["command_line"] == "echo METRIC loss=1 n=1"


def test_a_sweep_that_is_not_sound_says_so_in_its_document_and_its_exit_code(read_json: ReadJson) -> None:
    diverges = [*BEALE, "optimizer=sgd", "learning_rate=1e30"]
    assert read_json("train", *diverges, code=1)["status"] == "diverged"
    found = read_json("sweep", *diverges, code=1)
    assert found["sound"] is False and found["best"] is None
    assert found["trials"][0]["figures"]["loss"] is None


def test_every_key_is_documented() -> None:
    section = (ROOT / "docs" / "reference" / "json.md").read_text()
    keys = (
        RECORD
        | LLC
        | TRIALS
        | PLAN
        | BATCH
        | CHOSEN
        | VERIFIED
        | COMPARED
        | CLEANUP
        | LEFTOVER
        | DOCTOR
        | CHECK
    )
    named = set(re.findall(r"`(\w+)`", section))
    assert keys <= named, keys - named


def test_bad_input_leaves_standard_output_empty(read_json: ReadJson) -> None:
    with pytest.raises(json.JSONDecodeError):
        read_json("llc", "samplr=hmc", code=2)


def test_comparisons_with_the_truth_have_their_numbers() -> None:
    case = replace(cases(quick=True)[0], truth=10.0, tolerance=Tolerance(0.02), note="why")
    figures = {"llc": 10.5, "llc_mcse": 0.5}
    found = found_document([compare(case, Record("est_0", "llc", 1, "flagged", ("bad",), {}, figures))])
    (comparison,) = found["comparisons"]
    assert {*found} == {"sound", "comparisons"} and {*comparison} == VERIFIED
    assert (found["sound"], comparison["within"], comparison["truth"]) == (False, False, 10.0)
    assert (comparison["llc"], comparison["error"], comparison["standard_errors"]) == (10.5, 0.05, 1.0)
    assert comparison["note"] == "why; flagged: bad"


def test_runs_have_their_actual_state(store: Store, read_json: ReadJson) -> None:
    assert read_json("runs") == []
    lost, silent = record(beat=minutes_ago(9), name="x" * 200), record(beat=minutes_ago(3))
    ended = [record(state="completed", attempt_started=minutes_ago(99 + n)) for n in range(60)]
    for run in (lost, silent, *ended):
        write_run(store, run)
    listed = read_json("runs")
    assert len(listed) == 62 and listed[0]["flow_run_id"] == ended[-1].flow_run_id
    states = {row["flow_run_id"]: row["state"] for row in listed}
    assert (states[lost.flow_run_id], states[silent.flow_run_id]) == ("crashed", "unknown")
    (row,) = [row for row in listed if row["flow_run_id"] == lost.flow_run_id]
    assert row == lost.model_dump(mode="json") | {"state": "crashed"}


def test_nothing_to_resume_is_null(read_json: ReadJson) -> None:
    assert read_json("resume") is None


def test_what_is_left_behind_is_listed_and_removed(
    store: Store, read_json: ReadJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "dead_servers", list)  # of this machine, whoever left them
    assert read_json("cleanup") == {"leftovers": [], "removed": 0, "failures": []}
    old = record(state="completed", beat=minutes_ago(60 * 24 * 31))
    write_run(store, old)
    found = read_json("cleanup")
    (item,) = found["leftovers"]
    assert {*found} == CLEANUP and {*item} == LEFTOVER
    assert (item["kind"], found["removed"]) == ("old run file", 0) and store.paths.run(
        old.flow_run_id
    ).exists()
    assert read_json("cleanup", "--yes")["removed"] == 1 and not store.paths.run(old.flow_run_id).exists()


def test_the_doctors_findings_are_checks(read_json: ReadJson, monkeypatch: pytest.MonkeyPatch) -> None:
    ill = read_json("doctor", code=2)
    assert {*ill} == DOCTOR and {*ill["here"][0]} == CHECK and ill["runner"] == "local"
    assert [(check["name"], check["ok"]) for check in ill["here"]] == [("store", True), ("server", False)]
    assert ill["well"] is False and ill["there"] == []
    monkeypatch.setattr(checks, "api_url", lambda: None)
    assert read_json("doctor")["well"] is True
