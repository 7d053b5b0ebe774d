from __future__ import annotations

import json
import math
from collections.abc import Callable
from csv import DictReader
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepflow.errors import StoreError
from sweepflow.report.table import COLUMNS, estimate_rows, table_of, write_rows, write_tables
from sweepflow.space import read_table
from sweepflow.space.csv_cells import cell_value
from sweepflow.storage.record import Record

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
    csv, parquet = write_tables(*typical, tmp_path / "with a space")
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
    _, parquet = write_tables(lost, targets, tmp_path)
    table = pyarrow.parquet.read_table(parquet)
    assert table["llc"].to_pylist() == [None]
    assert table.schema.field("llc").type == pa.float64()


def test_no_rows(tmp_path: Path) -> None:
    csv, parquet = write_tables([], {}, tmp_path)
    assert csv.read_text().splitlines() == [",".join(COLUMNS)]
    assert pyarrow.parquet.read_table(parquet).shape == (0, len(COLUMNS))


def test_rows_of_different_samplers_share_their_columns(
    target_of: Make, estimate_of: Make, failed_of: Make, tmp_path: Path
) -> None:
    target = target_of()
    estimates = [estimate_of(target, "sgld"), estimate_of(target, "hmc"), failed_of(target)]
    _, parquet = write_tables(estimates, {}, tmp_path)
    table = pyarrow.parquet.read_table(parquet)
    assert table["sampler.step_size"].to_pylist() == [1e-5, None, None]
    assert table["target_status"].to_pylist() == [None, None, None]


def test_numbers_beside_text_are_text_and_nan_is_none(
    target_of: Make, estimate_of: Make, tmp_path: Path
) -> None:
    one = estimate_of(target_of())
    two = replace(one, id="est_2", figures={**one.figures, "llc": math.nan, "odd": "many"})
    one = replace(one, figures={**one.figures, "odd": 3})
    _, parquet = write_tables([one, two], {}, tmp_path)
    table = pyarrow.parquet.read_table(parquet)
    assert table["odd"].to_pylist() == ["3", "many"]
    assert table["llc"].to_pylist()[1] is None


def test_what_to_do_and_what_is_worth_knowing_are_in_the_files(
    target_of: Make, estimate_of: Make, tmp_path: Path
) -> None:
    target = target_of()
    one = replace(
        estimate_of(target, status="flagged", reasons=["a", "b", "c"]),
        advice=("sampler.ess=800", "", "true"),
        notes=("cut short, at 200,000 gradients", "1"),
    )
    csv, parquet = write_tables([one, estimate_of(target, "nuts")], {target.id: target}, tmp_path)
    assert pyarrow.parquet.read_table(parquet).select(["advice", "notes"]).to_pylist() == [
        {"advice": "sampler.ess=800; true", "notes": "cut short, at 200,000 gradients; 1"},
        {"advice": "", "notes": ""},
    ]
    with csv.open(newline="", encoding="utf-8") as file:
        rows = list(DictReader(file))
    assert [(row["advice"], row["notes"]) for row in rows] == [
        ("sampler.ess=800; true", "cut short, at 200,000 gradients; 1"),
        ("", ""),
    ]


def test_a_step_size_is_auto_in_one_row_and_a_number_in_the_next(
    target_of: Make, estimate_of: Make, tmp_path: Path
) -> None:
    """`--from` reads either file as what was asked for; the figure beside it is what was run at."""
    target = target_of()
    asked = ["auto", 1e-5, "auto", 0.25, 1.0]
    found = [2e-4, 1e-5, 3e-4, 0.25, 1.0]
    estimates = [estimate_of(target, "sgld", step_size=a, seed=i) for i, a in enumerate(asked)]
    estimates = [
        replace(e, figures={**e.figures, "step_size": f}) for e, f in zip(estimates, found, strict=True)
    ]
    estimates.append(estimate_of(target, "hmc"))
    files = write_tables(estimates, {target.id: target}, tmp_path)
    for path in files:
        rows = list(read_table(path).rows.values())
        assert exactly([row["sampler.step_size"] for row in rows[:-1]]) == exactly(asked), path
        assert "sampler.step_size" not in rows[-1], path
    csv, parquet = pyarrow.csv.read_csv(files[0]), pyarrow.parquet.read_table(files[1])
    assert csv["step_size"].to_pylist() == parquet["step_size"].to_pylist() == [*found, 0.021]
    assert parquet.schema.field("step_size").type == pa.float64()


def test_a_place_that_cannot_be_written_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        write_tables([], {}, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]


TEXTS = st.sampled_from(["true", "1", "1.0", "null", "[1]", '"', '"a"', "", " ", "a\rb"]) | st.text(
    st.characters(exclude_categories=["Cs"])
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
CELLS = st.lists(SCALARS, min_size=1, max_size=5)


def exactly(value: Any) -> str:
    """A value with its type: 1 is neither 1.0 nor true."""
    return repr(value)


@given(CELLS, st.sampled_from([None, *set(COLUMNS.values())]))
def test_a_figure_is_its_value_or_a_text_that_no_other_has(values: list[Any], kind: Any) -> None:
    """No digit is lost: not those of whole numbers beyond 64 bits, and not beside fractions."""
    column = table_of([{"a": value} for value in values], {} if kind is None else {"a": kind}, ()).column("a")
    found = column.to_pylist()
    only_text = kind in (None, pa.string()) and all(isinstance(value, str | None) for value in values)
    if column.type != pa.string() or only_text:
        assert found == values
    else:
        back = [None if text is None else cell_value(text) for text in found]
        assert exactly(back) == exactly(values)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["a", "b.c"]), SCALARS | st.lists(SCALARS, max_size=2), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_settings_are_read_back_from_either_file(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for path in write_rows(rows, tmp_path, "rows", {}, ["a", "b.c"]):
        back = list(read_table(path).rows.values())
        assert [exactly(sorted(row.items())) for row in back] == [exactly(sorted(r.items())) for r in rows], (
            path
        )


def test_text_and_truth_in_one_column_are_told_apart_by_who_reads_the_file(tmp_path: Path) -> None:
    rows = [{"figure": value, "setting": value} for value in (True, "true", 1, "auto", None)]
    csv, parquet = write_rows(rows, tmp_path, "rows", {}, ["setting"])
    assert csv.read_text().splitlines() == [
        "figure,setting",
        "true,true",
        '"""true""","""true"""',
        "1,1",
        "auto,auto",
        ",null",
    ]
    table = pyarrow.parquet.read_table(parquet)
    assert table["figure"].to_pylist() == ["true", '"true"', "1", "auto", None]
    assert table["setting"].to_pylist() == ["true", '"true"', "1", "auto", "null"]
