"""Designs as files: exact round trips, tables made by others, and broken ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweepflow.errors import ConfigError, DataError
from sweepflow.space import read_table, write_table

SUFFIXES = [".csv", ".parquet", ".json", ".yaml", ".yml"]
TRICKY = [
    "1",
    "1e-4",
    "007",
    "true",
    "True",
    "null",
    "~",
    "",
    " ",
    "[1",
    "[1]",
    '"',
    "a,b",
    "a\nb",
    "a\rb",
    "nan",
    "yes",
]

texts = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(exclude_categories=["Cs"])))
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
tables = st.lists(
    st.dictionaries(st.sampled_from(["learning_rate", "model.widths", "seed"]), values),
    min_size=1,
    max_size=6,
).filter(any)


def rows_of(path: Path | str) -> list[dict[str, Any]]:
    return list(read_table(path).rows.values())


def _typed(value: Any) -> Any:
    """A value together with its type: 1, 1.0 and True differ, and 0.0 from -0.0."""
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value), math.copysign(1, value) if isinstance(value, float) else 0, value


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(rows=tables)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_exactly(
    suffix: str, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / f"my samples{suffix}"
    write_table(path, rows)
    back = rows_of(path)
    assert [{k: _typed(v) for k, v in row.items()} for row in back] == [
        {k: _typed(v) for k, v in row.items()} for row in rows
    ]


def test_csv_looks_as_a_person_would_write_it(tmp_path: Path) -> None:
    rows = [
        {"optimizer": "sgd", "learning_rate": 1e-4, "model.widths": [64, 32]},
        {"optimizer": "adam", "learning_rate": 0.1, "nesterov": True},
    ]
    write_table(tmp_path / "a.csv", rows)
    assert (tmp_path / "a.csv").read_text() == (
        'optimizer,learning_rate,model.widths,nesterov\nsgd,0.0001,"[64, 32]",\nadam,0.1,,true\n'
    )


def test_csv_made_by_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(
        b"\xef\xbb\xbfoptimizer, learning_rate ,seed,nesterov\r\nsgd,.5,+3,True\r\n\r\nadam, 1E-3 ,,False\r\n"
    )
    assert rows_of(str(path)) == [
        {"optimizer": "sgd", "learning_rate": 0.5, "seed": 3, "nesterov": True},
        {"optimizer": "adam", "learning_rate": 1e-3, "nesterov": False},
    ]


def test_yaml_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.yaml"
    path.write_text("- learning_rate: 1e-4\n  model.widths: [64, 64]\n- {optimizer: adam}\n")
    assert rows_of(path) == [{"learning_rate": 1e-4, "model.widths": [64, 64]}, {"optimizer": "adam"}]


def test_parquet_made_by_others(tmp_path: Path) -> None:
    path = tmp_path / "frame.parquet"
    pq.write_table(
        pa.table({"seed": [1, None], "learning_rate": [math.nan, 0.5], "w": [[64], [32, 32]]}), path
    )
    assert rows_of(path) == [{"seed": 1, "w": [64]}, {"learning_rate": 0.5, "w": [32, 32]}]


def test_parquet_of_before_whose_columns_of_json_say_so(tmp_path: Path) -> None:
    column = pa.field("x", pa.string(), metadata={b"sweepflow": b"json"})
    texts = ['"true"', "true", "1.0", "null", None, '[64, "a"]']
    pq.write_table(
        pa.table({"x": texts, "y": range(6)}, pa.schema([column, ("y", pa.int64())])), tmp_path / "a.parquet"
    )
    found = [{"x": "true"}, {"x": True}, {"x": 1.0}, {"x": None}, {}, {"x": [64, "a"]}]
    assert [{key: row[key] for key in row if key != "y"} for row in rows_of(tmp_path / "a.parquet")] == found


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_of_empty_cells_are_no_samples_wherever_they_are(separator: str, tmp_path: Path) -> None:
    """Spreadsheets write them at the end, and some with fewer separators than the header has."""
    lines = ["seed,optimizer,x", ",,", "1,sgd,", ' ,"",', "2,,", ",,", ","]
    path = tmp_path / "sheet.csv"
    path.write_text("\r\n".join(lines).replace(",", separator) + "\r\n")
    found = read_table(path)
    assert found.rows == {2: {"seed": 1, "optimizer": "sgd"}, 4: {"seed": 2}}
    assert found.blank == [1, 3, 5, 6]
    frame = pa.table(
        {"seed": [None, 1, None], "x": [None, None, math.nan]},
        pa.schema([("seed", pa.int64()), ("x", pa.float64())]),
    )
    pq.write_table(frame, tmp_path / "frame.parquet")
    found = read_table(tmp_path / "frame.parquet")
    assert found.rows == {2: {"seed": 1}} and found.blank == [1, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "seed,optimizer\n", "no rows"),
        ("a.csv", "seed,optimizer\n,\n,\n", "no rows(.|\n)*2 rows of empty cells"),
        ("a.csv", "seed,optimizer,seed\n1,sgd,2\n", "a column twice\n.*seed"),
        ("a.csv", "seed,optimizer\n1,sgd\n2,adam,7\n", "3 cells in line 3"),
        ("a.csv", "seed,optimizer\n1\n", "1 cells in line 2"),
        ("a.csv", ",seed\n0,1\n", "index=False"),
        ("a.csv", 'seed\n"1\n', "cannot be read as CSV"),
        ("a.csv", b"seed\n\xff\n", "UTF-8"),
        ("a.json", "[]", "no rows"),
        ("a.json", '{"seed": 1}', "no list of configurations"),
        ("a.json", "[{]", "cannot be read as JSON"),
        ("a.yaml", "", "no rows"),
        ("a.yaml", "- 3\n", "no list of configurations"),
        ("a.yaml", "- {seed: [1\n", "cannot be read as YAML"),
        ("a.yaml", "- !!python/object/apply:os.system ['true']\n", "cannot be read as YAML"),
        ("a.parquet", "seed", "cannot be read as Parquet"),
    ],
)
def test_broken_tables(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as error:
        read_table(tmp_path / name)
    assert name in str(error.value)


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such table(.|\n)*sweepflow samples"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="directory"):
        read_table(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("a.xlsx", [{"seed": 1}], r"\.csv, \.parquet(.|\n)*name it a\.csv"),
        ("a.csv", [], "without values"),
        ("a.csv", [{}], "without values"),
        ("a.json", [{"x": math.nan}], "cannot be written"),
        ("a.parquet", [{"x": math.inf}], "cannot be written"),
        ("a.csv", [{"x": object()}], "cannot be written"),
        ("a.csv", [{"#": 1}], "is no key"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_table(tmp_path / name, rows)
    assert not (tmp_path / name).exists()
