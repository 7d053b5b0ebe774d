"""One flat row an estimate, and the files that hold them: `results.csv` and `results.parquet`.

Any other flat rows are written by the same `write_rows`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sweepflow.report.labels import flatten, target_key
from sweepflow.store.atomic import write_bytes
from sweepflow.store.record import Record

Row = dict[str, Any]

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()

COLUMNS: dict[str, pa.DataType] = {
    "id": _TEXT,
    "status": _TEXT,
    "reasons": _TEXT,
    "target_id": _TEXT,
    "target_status": _TEXT,
    "llc": _REAL,
    "llc_mcse": _REAL,
    "llc_low": _REAL,
    "llc_high": _REAL,
    "llc_chains": _TEXT,
    "llc_bias": _REAL,
    "llc_bias_se": _REAL,
    "ess_mean": _REAL,
    "r_hat": _REAL,
    "acceptance": _REAL,
    "divergences": _WHOLE,
    "frozen_chains": _WHOLE,
    "nan_fraction": _REAL,
    "full_gradients": _REAL,
    "step_size": _REAL,
    "n": _WHOLE,
    "num_params": _WHOLE,
    "nbeta": _REAL,
    "gamma": _REAL,
    "L0": _REAL,
    "seconds_compile": _REAL,
    "seconds_run": _REAL,
    "host": _TEXT,
    "device": _TEXT,
    "versions": _TEXT,
}
"""Columns that every table has, with their types, even where no estimate has a value."""


def estimate_rows(estimates: Sequence[Record], targets: Mapping[str, Record]) -> list[Row]:
    """One flat row an estimate: its status, figures, settings, target's figures, cost and provenance.

    Settings are dotted as on the command line (`model.*`, `data.*`, `target.*`, `sampler.*`). Figures of
    the target that the estimate does not state itself are prefixed `target_`. Lists are JSON strings.

    Args:
        estimates: Records of the workload `llc`.
        targets: Records of the workload `target` by id; a missing one leaves its columns out.
    """
    return [_row(estimate, targets.get(target_key(estimate))) for estimate in estimates]


def write_tables(rows: Sequence[Row], directory: Path) -> tuple[Path, Path]:
    """Writes `results.csv` and `results.parquet`, each aside and then renamed.

    All rows get all columns, None where a row has no value. A column that mixes numbers and text is text.

    Returns:
        The two paths.

    Raises:
        StoreError: where the directory cannot be written.
    """
    return write_rows(rows, directory, "results", COLUMNS)


def write_rows(
    rows: Sequence[Row], directory: Path, stem: str, columns: Mapping[str, pa.DataType]
) -> tuple[Path, Path]:
    """Writes `STEM.csv` and `STEM.parquet`, each aside and then renamed; as `write_tables` for any rows.

    Args:
        rows: Flat, of what `cell` gives.
        directory: Is made where it is not there.
        stem: Name of both files.
        columns: Those that the table has first, with their types, even where no row has a value.
    """
    table = table_of(rows, columns)
    csv, parquet = directory / f"{stem}.csv", directory / f"{stem}.parquet"
    for path, write in ((csv, pyarrow.csv.write_csv), (parquet, pyarrow.parquet.write_table)):
        content = pa.BufferOutputStream()
        write(table, content)
        write_bytes(path, content.getvalue().to_pybytes())
    return csv, parquet


def cell(value: Any) -> Any:
    """A value as one cell: lists and mappings are JSON, a number that is not finite is None."""
    if isinstance(value, (list, tuple, Mapping)):
        return json.dumps(value, ensure_ascii=False, sort_keys=isinstance(value, Mapping))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _row(estimate: Record, target: Record | None) -> Row:
    config = dict(estimate.config)
    settings = flatten({**config.pop("target", {}), **config})
    row: Row = {
        "id": estimate.id,
        "status": estimate.status,
        "reasons": "; ".join(estimate.reasons),
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
    return {key: cell(value) for key, value in row.items()}


def table_of(rows: Sequence[Row], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Rows as a table; see `write_rows`."""
    present = dict.fromkeys(key for row in rows for key in row)
    # Figures and settings that only some rows have stand after the columns that all tables have.
    names = list(columns) + [name for name in present if name not in columns]
    return pa.table({name: _column(columns.get(name), [row.get(name) for row in rows]) for name in names})


def _column(kind: pa.DataType | None, values: list[Any]) -> pa.Array:
    """A column of a type, or of its values'; of text where that could not hold them as they are."""
    kinds = {type(v) for v in values if v is not None}
    if kind is None and len(kinds) > 1 and not kinds <= {int, float}:
        kind = _TEXT
    elif kind is None and kinds <= {int, float, str}:
        kind = _TEXT if kinds <= {str} else _WHOLE if kinds == {int} else _REAL
    if kind == _WHOLE and float in kinds:  # which would be cut off
        kind = _REAL
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(_as_text(values), type=_TEXT)


def _as_text(values: list[Any]) -> list[str | None]:
    return [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
