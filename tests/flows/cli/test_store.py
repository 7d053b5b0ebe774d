"""The list of trials that a store knows, as the command prints it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sweepflow.compose import compose_trials
from sweepflow.flows.cli import app
from sweepflow.flows.cli.print import MAX_LISTED
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.draw import DesignOptions, draw_trials
from sweepflow.workloads.command import run_trials


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "a store")


def put(
    store: Store, number: int, config: Mapping[str, Any], second: int = 0, **changes: Any
) -> tuple[str, str]:
    """Keep a trial that was written in this second; its id and the time as it is shown."""
    written = f"2026-03-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    whole: dict[str, Any] = {
        "id": f"trl_{number:016x}",
        "workload": "train",
        "version": 1,
        "status": "ok",
        "reasons": (),
        "config": config,
        "figures": {},
        "provenance": {"written": f"{written}+00:00"},
    }
    store.put(Record(**whole | changes))
    return f"trl_{number:016x}", written.replace("T", " ")


def trials(store: Store, *options: str) -> list[str]:
    """The lines that the command prints."""
    result = CliRunner().invoke(app, ["trials", "--store", str(store.root), *options])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_trials_are_listed_by_time_with_what_tells_them_apart(store: Store) -> None:
    same = {"data": {"kind": "bundled", "name": "digits"}, "epochs": 5}
    late, at_late = put(store, 1, {**same, "optimizer": "sgd", "learning_rate": 0.1}, 7300)
    early, at_early = put(
        store,
        2,
        {**same, "optimizer": "adam", "learning_rate": 0.1},
        60,
        status="diverged",
        reasons=("the loss [1e9] is not finite", "another"),
    )
    alone, at_alone = put(store, 3, {"x": 1.0}, 3600, workload="landscape")
    head, *rows = trials(store)
    assert head.split() == ["id", "written", "(UTC)", "workload", "status", "what", "varies", "reason"]
    assert [row.split("  ")[0] for row in rows] == [early, alone, late]
    assert " ".join(rows[0].split()) == f"{early} {at_early} train diverged adam the loss [1e9] is not finite"
    assert " ".join(rows[1].split()) == f"{alone} {at_alone} landscape ok", "nothing varies, nor is it its id"
    assert " ".join(rows[2].split()) == f"{late} {at_late} train ok sgd"


def test_jobs_are_listed_by_their_overrides(store: Store) -> None:
    put(store, 1, {"overrides": ["x=2", "y=[1,2]"], "config": {}}, id="job_" + 16 * "1", workload="m.square")
    result = CliRunner().invoke(app, ["jobs", "--store", str(store.root)])
    head, row = result.output.splitlines()
    assert head.split()[0] == "id"
    assert row.split() == ["job_" + 16 * "1", "2026-03-01", "00:00:00", "m.square", "ok", "x=2", "y=[1,2]"]
    assert "there are no trials in" in trials(store)[0]


def test_at_most_four_keys_say_what_varies_and_no_digits_of_the_id(store: Store) -> None:
    for number in range(64):
        put(store, number, {name: number >> bit & 1 for bit, name in enumerate("abcdef")}, number)
    rows = trials(store)[1:]
    assert rows[0].split()[5:] == ["a=0", "b=0", "c=0", "d=0"]
    assert rows[63].split()[5:] == ["a=1", "b=1", "c=1", "d=1"]


def test_a_long_list_ends_with_the_newest_and_says_how_to_see_it_whole(store: Store) -> None:
    ids = [put(store, number, {"lr": number / 8}, number)[0] for number in range(MAX_LISTED + 3)]
    *rows, last = trials(store)[1:]
    assert [row.split()[0] for row in rows] == ids[3:]
    assert last == f"the newest {MAX_LISTED} of {MAX_LISTED + 3} trials; --all lists them all"
    assert [row.split()[0] for row in trials(store, "--all")[1:]] == ids


def test_a_reason_of_several_lines_is_one_line_and_a_long_value_is_cut(store: Store) -> None:
    put(store, 1, {"command": "python " + "x" * 300}, status="failed", reasons=("exit code 1:\nTraceback",))
    put(store, 2, {"command": "python y"})
    rows = trials(store)[1:]
    assert len(rows) == 2 and rows[0].endswith("exit code 1: Traceback") and len(rows[0]) < 180


def test_a_store_without_trials_says_where_it_looked(store: Store) -> None:
    (line,) = trials(store)
    assert str(store.root) in line and "--store DIR" in line


@pytest.mark.parametrize("command", [["show"], ["rm", "--yes"]])
def test_an_id_that_is_not_there_names_the_command_that_lists_them(command: list[str], store: Store) -> None:
    put(store, 1, {})
    result = CliRunner().invoke(app, [*command, "trl_zzz", "--store", str(store.root)])
    assert result.exit_code == 2
    assert "list the ids with: sweepflow trials; for another store add --store DIR" in result.output


def test_what_an_external_program_is_started_with_is_printed_as_it_would_be_typed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it runs and after: the same line, with the trial's own folder."""
    monkeypatch.chdir(tmp_path)
    asked = ["workload=command", "command=\"printf '%s\\n' 'METRIC loss=1'\"", "metrics=[loss]", "style=flag"]
    asked += ["args.text='it is'", 'args.out="{trial_dir}/x"', "environment.N=1", f"store='{store.root}'"]
    shown = CliRunner().invoke(app, ["sweep", "--dry-run", *asked])
    assert shown.exit_code == 0, shown.output
    (line,) = [line.strip() for line in shown.output.splitlines() if line.startswith("    $ ")]
    request = compose_trials(asked)
    (trial,) = draw_trials(request, DesignOptions()).trials.values()
    (record,) = run_trials([trial], store)
    assert record.status == "ok", record.reasons
    folder = store.paths.trial_folder(trial.id)
    assert line == f"$ N=1 printf '%s\\n' 'METRIC loss=1' '--out={folder}/x' '--text=it is'"
    printed = CliRunner().invoke(app, ["show", record.id, "--store", str(store.root)])
    assert json.loads(printed.output)["command_line"] == line.removeprefix("$ ")
    put(store, 1, {"x": 1})
    assert "command_line" not in CliRunner().invoke(app, ["show", "trl_0", "--store", str(store.root)]).output
