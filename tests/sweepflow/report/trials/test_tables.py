from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from sweepflow.report.trials.tables import configuration_rows, trial_rows, write_trial_tables
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def test_a_row_a_trial_with_its_settings_and_figures(trial: Trial, view_of: ViewOf) -> None:
    records = [
        trial(0.25, seed=3),
        trial(status="failed", reasons=["out of memory", "at a batch of one"], seed=4),
    ]
    first, second = trial_rows(view_of(records))
    assert first["id"] == records[0].id and first["status"] == "ok" and first["group"] == "sgd [64]"
    assert first["validation_loss"] == 0.25 and first["train_loss"] == pytest.approx(0.225)
    assert first["model.widths"] == "[64]" and first["learning_rate"] == 0.01 and first["seed"] == 3
    assert first["seconds_run"] == 2.0 and first["host"] == "box-7" and first["device"] == "cpu x2"
    assert second["reasons"] == "out of memory; at a batch of one"
    assert "validation_loss" not in second


def test_a_figure_does_not_hide_a_setting_of_its_name(trial: Trial, view_of: ViewOf) -> None:
    (row,) = trial_rows(view_of([trial(0.25, num_params=10, status_code=1)]))
    assert row["num_params"] == 10 and row["figure_num_params"] == 4810


def test_a_setting_that_is_called_as_a_column_of_every_table_has_another_name(
    trial: Trial, view_of: ViewOf
) -> None:
    (row,) = trial_rows(view_of([trial(0.25, device="gpu")]))
    assert (row["device"], row["setting_device"]) == ("cpu x2", "gpu")


def test_files_hold_every_trial_and_every_configuration(
    sweep_of: Callable[..., TrialsView], tmp_path: Path
) -> None:
    view = sweep_of(24, repeats=3)
    directory = tmp_path / "a directory"
    runs, configurations = write_trial_tables(view, directory)
    assert sorted(p.name for p in directory.iterdir()) == [
        "configurations.csv",
        "configurations.parquet",
        "runs.csv",
        "runs.parquet",
    ]
    with runs.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["id"] for row in read] == [r.id for r in view.records]
    assert list(read[0])[:5] == ["id", "status", "reasons", "group", "validation_loss"]
    table = pyarrow.parquet.read_table(directory / "runs.parquet")
    assert table["momentum"].to_pylist() == [r.config.get("momentum") for r in view.records]
    assert str(table.schema.field("validation_loss").type) == "double"
    rows = configuration_rows(view)
    table = pyarrow.parquet.read_table(configurations.with_suffix(".parquet"))
    assert table["mean"].to_pylist() == [row["mean"] for row in rows] and len(rows) == 24
    assert table["n"].to_pylist() == [3] * 24
    assert "seed" not in table.column_names


def test_rows_of_a_configuration_say_what_it_cost(trial: Trial, view_of: ViewOf) -> None:
    (row,) = configuration_rows(
        view_of([trial(0.2, seed=0), trial(0.4, seed=1), trial(status="failed", seed=2)])
    )
    assert row["seconds"] == 7.5 and row["n"] == 3 and row["n_failed"] == 1
    assert (row["mean"], row["best"], row["worst"]) == (pytest.approx(0.3), 0.2, 0.4)


def test_no_trials_are_tables_without_rows(view_of: ViewOf, tmp_path: Path) -> None:
    runs, configurations = write_trial_tables(view_of([]), tmp_path)
    assert len(runs.read_text().splitlines()) == len(configurations.read_text().splitlines()) == 1
