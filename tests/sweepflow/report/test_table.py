from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import StoreError
from sweepflow.report.table import COLUMNS, cell, estimate_rows, table_of, write_tables
from sweepflow.store.record import Record

Make = Callable[..., Record]
Sweep = tuple[list[Record], dict[str, Record]]


def test_a_row_holds_settings_figures_cost_and_provenance(typical: Sweep) -> None:
    estimates, targets = typical
    row = estimate_rows(estimates, targets)[3]
    estimate = estimates[3]
    assert row["id"] == estimate.id
    assert row["status"] == "flagged"
    assert row["reasons"] == "R̂ 1.41 > 1.05; step-size bias 5.1 exceeds its error bar 1.2"
    assert row["target_id"] in targets and row["target_status"] == "ok"
    assert row["model.kind"] == "mlp" and row["data.name"] == "digits"
    assert row["target.seed"] == 2 and row["sampler.step_size"] == 1e-5
    assert row["llc"] == estimate.figures["llc"]
    assert json.loads(row["llc_chains"]) == estimate.figures["llc_chains"]
    assert row["target_loss_train"] == targets[row["target_id"]].figures["loss_train"]
    assert "target_n" not in row and row["n"] == 1437
    assert (row["seconds_compile"], row["seconds_run"]) == (2.5, 1.7)
    assert row["host"] == "box-7" and json.loads(row["versions"])["jax"] == "0.10.2"


def test_the_status_of_the_target_is_in_the_row(typical: Sweep) -> None:
    row = estimate_rows(*typical)[-1]
    assert row["target_status"] == "flagged" and row["target_converged"] is False
    assert row["target_reasons"].startswith("loss still falling")


def test_files_are_read_back(typical: Sweep, tmp_path: Path) -> None:
    rows = estimate_rows(*typical)
    csv, parquet = write_tables(rows, tmp_path / "with a space")
    table = pyarrow.parquet.read_table(parquet)
    text = pyarrow.csv.read_csv(csv)
    assert text.column_names == table.column_names
    assert len(table) == len(text) == len(rows)
    for i, row in enumerate(table.to_pylist()):
        assert {k: v for k, v in row.items() if v is not None} == {
            k: v for k, v in rows[i].items() if v is not None
        }
    assert text["llc"].to_pylist() == pytest.approx(table["llc"].to_pylist())
    assert sorted(p.name for p in csv.parent.iterdir()) == ["results.csv", "results.parquet"]


def test_a_missing_value_is_none_and_keeps_its_type(typical: Sweep, tmp_path: Path) -> None:
    estimates, targets = typical
    lost = [e for e in estimates if e.status == "diverged"]
    _, parquet = write_tables(estimate_rows(lost, targets), tmp_path)
    table = pyarrow.parquet.read_table(parquet)
    assert table["llc"].to_pylist() == [None]
    assert table.schema.field("llc").type == pa.float64()


def test_no_rows(tmp_path: Path) -> None:
    csv, parquet = write_tables([], tmp_path)
    assert csv.read_text().splitlines() == [",".join(f'"{name}"' for name in COLUMNS)]
    assert pyarrow.parquet.read_table(parquet).shape == (0, len(COLUMNS))


def test_rows_of_different_samplers_share_their_columns(
    target_of: Make, estimate_of: Make, failed_of: Make, tmp_path: Path
) -> None:
    target = target_of()
    estimates = [estimate_of(target, "sgld"), estimate_of(target, "hmc"), failed_of(target)]
    _, parquet = write_tables(estimate_rows(estimates, {}), tmp_path)
    table = pyarrow.parquet.read_table(parquet)
    assert table["sampler.step_size"].to_pylist() == [1e-5, None, None]
    assert table["target_status"].to_pylist() == [None, None, None]


def test_numbers_beside_text_are_text_and_nan_is_none(
    target_of: Make, estimate_of: Make, tmp_path: Path
) -> None:
    one = estimate_of(target_of())
    two = replace(one, id="est_2", figures={**one.figures, "llc": math.nan, "odd": "many"})
    one = replace(one, figures={**one.figures, "odd": 3})
    _, parquet = write_tables(estimate_rows([one, two], {}), tmp_path)
    table = pyarrow.parquet.read_table(parquet)
    assert table["odd"].to_pylist() == ["3", "many"]
    assert table["llc"].to_pylist()[1] is None


def test_a_place_that_cannot_be_written_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        write_tables([], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


NUMBERS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.lists(st.none() | NUMBERS | st.text(), min_size=1, max_size=5)


@given(CELLS, st.sampled_from([None, *set(COLUMNS.values())]))
def test_every_cell_is_the_value_or_its_text(values: list[Any], kind: Any) -> None:
    """No digit is lost: not those of whole numbers beyond 64 bits, and not beside fractions."""
    table = table_of([{"a": cell(value)} for value in values], {} if kind is None else {"a": kind})
    for value, found in zip(values, table.column("a").to_pylist(), strict=True):
        assert found == value or found == json.dumps(value)
