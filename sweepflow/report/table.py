"""Flat rows of estimates, one row each, and their files: `results.csv` and `results.parquet`.

`write_rows` also writes any other flat rows. Settings are written in the form that `--from` reads: reading
them gives the same configuration.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from sweepflow.report.labels import flatten, target_key
from sweepflow.space.csv_cells import cell_text, csv_text
from sweepflow.space.parquet_cells import NO_CELL, column_of
from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.record import Record

Row = dict[str, Any]

TEXT, REAL, WHOLE = pa.string(), pa.float64(), pa.int64()
_HELD: dict[pa.DataType, set[type]] = {TEXT: {str}, pa.bool_(): {bool}, WHOLE: {int}, REAL: {int, float}}
"""Python types of the values in a column of each type."""

COLUMNS: dict[str, pa.DataType] = {
    "id": TEXT,
    "status": TEXT,
    "reasons": TEXT,
    "advice": TEXT,
    "notes": TEXT,
    "target_id": TEXT,
    "target_status": TEXT,
    "llc": REAL,
    "llc_mcse": REAL,
    "llc_low": REAL,
    "llc_high": REAL,
    "llc_chains": TEXT,
    "llc_bias": REAL,
    "llc_bias_se": REAL,
    "ess_mean": REAL,
    "r_hat": REAL,
    "acceptance": REAL,
    "mala_acceptance": REAL,
    "energy_variance": REAL,
    "divergences": WHOLE,
    "frozen_chains": WHOLE,
    "nan_fraction": REAL,
    "full_gradients": REAL,
    "step_size": REAL,
    "draws": WHOLE,
    "warmup": REAL,
    "relaxation_time": REAL,
    "distance": REAL,
    "distance_r_hat": REAL,
    "wbic": REAL,
    "restarts": WHOLE,
    "n": WHOLE,
    "num_params": WHOLE,
    "nbeta": REAL,
    "gamma": REAL,
    "L0": REAL,
    "seconds_compile": REAL,
    "seconds_run": REAL,
    "host": TEXT,
    "device": TEXT,
    "versions": TEXT,
}
"""Columns that every table has, with their types, even if no estimate has a value."""


def estimate_rows(estimates: Sequence[Record], targets: Mapping[str, Record]) -> list[Row]:
    """One flat row for each estimate: its status, figures, settings, target's figures, cost and provenance.

    Settings are dotted as on the command line (`model.*`, `data.*`, `target.*`, `sampler.*`). Figures of the
    target that the estimate does not have itself get the prefix `target_`. Lists are JSON strings.

    Args:
        estimates: Records of the workload `llc`.
        targets: Records of the workload `target` by id; the columns of a missing target are left out.
    """
    return [cells(row) for row, _ in _rows(estimates, targets)]


def write_tables(
    estimates: Sequence[Record], targets: Mapping[str, Record], directory: Path
) -> tuple[Path, Path]:
    """Write `results.csv` and `results.parquet`, each to a temporary file that is renamed; see
    `estimate_rows`.

    Returns:
        The two paths.

    Raises:
        StoreError: if the directory cannot be written.
    """
    rows = _rows(estimates, targets)
    settings = {key for _, ours in rows for key in ours}
    return write_rows([row for row, _ in rows], directory, "results", COLUMNS, settings)


def write_rows(
    rows: Sequence[Row],
    directory: Path,
    stem: str,
    columns: Mapping[str, pa.DataType],
    settings: Collection[str],
) -> tuple[Path, Path]:
    """Write `STEM.csv` and `STEM.parquet`, each to a temporary file that is renamed; as `write_tables`, for
    any rows.

    All rows get all columns. A column of mixed types is a text column; in it, text that looks like another
    type is in quotes. `read_table` reads the settings of either file back unchanged. A setting that is None
    is `null`, but figures without a value are empty.

    Args:
        rows: Flat rows with values that JSON can hold.
        directory: Directory of the files; it is made if it does not exist.
        stem: Name of both files without the suffix.
        columns: First columns of the table, with their types; they are there even if no row has a value.
        settings: Names of the columns that are settings.
    """
    csv, parquet = directory / f"{stem}.csv", directory / f"{stem}.parquet"
    write_bytes(csv, _csv_of(rows, columns, settings).encode())
    content = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table_of(rows, columns, settings), content)
    write_bytes(parquet, content.getvalue().to_pybytes())
    return csv, parquet


def cells(row: Row) -> Row:
    """A row for people: every value is converted by `cell`."""
    return {key: cell(value) for key, value in row.items()}


def cell(value: Any) -> Any:
    """A value as one cell: lists and mappings become JSON, a number that is not finite becomes None."""
    value = _given(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _rows(estimates: Sequence[Record], targets: Mapping[str, Record]) -> list[tuple[Row, Row]]:
    """One row for each estimate, with the part of the row that is its settings."""
    return [_row(estimate, targets.get(target_key(estimate))) for estimate in estimates]


def _row(estimate: Record, target: Record | None) -> tuple[Row, Row]:
    config = dict(estimate.config)
    settings = flatten({**config.pop("target", {}), **config})
    row: Row = {
        "id": estimate.id,
        "status": estimate.status,
        "reasons": "; ".join(estimate.reasons),
        "advice": "; ".join(filter(None, estimate.advice)),
        "notes": "; ".join(estimate.notes),
        "target_id": estimate.figures.get("target_id"),
        "target_status": target.status if target else None,
    }
    row |= {k: v for k, v in estimate.figures.items() if k not in row}
    if target:
        row["target_reasons"] = "; ".join(target.reasons)
        row |= {f"target_{k}": v for k, v in target.figures.items() if k not in estimate.figures}
    row |= settings
    row |= {f"seconds_{k}": estimate.seconds.get(k) for k in ("compile", "run")}
    row |= {k: estimate.provenance.get(k) for k in ("host", "device", "versions")}
    return row, settings


def table_of(rows: Sequence[Row], columns: Mapping[str, pa.DataType], settings: Collection[str]) -> pa.Table:
    """Rows as a table; see `write_rows`."""
    fields, arrays = [], []
    for name, values in _values(rows, columns, settings).items():
        if name in settings:
            field, array = column_of(name, values)
        else:
            array = _figures(columns.get(name), values)
            field = pa.field(name, array.type)
        fields.append(field)
        arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields))


def _csv_of(rows: Sequence[Row], columns: Mapping[str, pa.DataType], settings: Collection[str]) -> str:
    found = _values(rows, columns, settings)
    texts = []
    for name, values in found.items():
        if name in settings:
            texts.append(["" if value is NO_CELL else cell_text(value) for value in values])
        else:
            texts.append([value or "" for value in _texts(values, bare=columns.get(name) == TEXT)])
    return csv_text(list(found), zip(*texts, strict=True))


def _values(
    rows: Sequence[Row], columns: Mapping[str, pa.DataType], settings: Collection[str]
) -> dict[str, list[Any]]:
    """The values of each column. Figures and settings that only some rows have come after the columns that
    all tables have."""
    names = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    found = {name: [row.get(name, NO_CELL) for row in rows] for name in names}
    return {
        name: values if name in settings else [_given(value) for value in values]
        for name, values in found.items()
    }


def _given(value: Any) -> Any:
    """A figure as it is written: None for a missing figure and for a number that is not finite."""
    match value:
        case list() | tuple():
            return [_given(item) for item in value]
        case Mapping():
            return {key: _given(value[key]) for key in sorted(value)}
        case float() if not math.isfinite(value):
            return None
    return None if value is NO_CELL else value


def _figures(kind: pa.DataType | None, values: list[Any]) -> pa.Array:
    """A column of the given type, or of the type of its values; a text column if that type cannot hold the
    values exactly."""
    kinds = {type(v) for v in values if v is not None}
    if kind is None:
        kind = next((one for one, held in _HELD.items() if kinds <= held), TEXT)
    if kind == WHOLE and float in kinds:  # which would be cut off
        kind = REAL
    if kind != TEXT and kinds <= _HELD[kind]:
        try:
            return pa.array(values, type=kind)
        except (pa.ArrowInvalid, OverflowError):
            pass  # digits would be lost
    return pa.array(_texts(values, bare=kind == TEXT), type=TEXT)


def _texts(values: list[Any], *, bare: bool) -> list[str | None]:
    """Values as cells; text is unchanged if `bare` and the column has no other values than text and JSON."""
    bare &= all(value is None or isinstance(value, (str, list, dict)) for value in values)
    return [v if v is None or (bare and isinstance(v, str)) else cell_text(v) for v in values]
