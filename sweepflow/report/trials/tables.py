"""Flat rows of a sweep and the files that hold them: `runs.*` by trial and `configurations.*`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sweepflow.report.table import Row, cell, write_rows
from sweepflow.report.trials.configurations import Configuration, configurations, ranked
from sweepflow.report.trials.view import TrialsView

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()

RUN_COLUMNS: dict[str, pa.DataType] = {
    "id": _TEXT,
    "status": _TEXT,
    "reasons": _TEXT,
    "group": _TEXT,
    "seconds_compile": _REAL,
    "seconds_run": _REAL,
    "host": _TEXT,
    "device": _TEXT,
    "written": _TEXT,
    "versions": _TEXT,
}
"""Columns that every `runs.*` has, the metric before the seconds; other figures and settings follow."""

CONFIGURATION_COLUMNS: dict[str, pa.DataType] = {
    "best_id": _TEXT,
    "status": _TEXT,
    "metric": _TEXT,
    "mean": _REAL,
    "sd": _REAL,
    "best": _REAL,
    "worst": _REAL,
    "n": _WHOLE,
    "n_failed": _WHOLE,
    "group": _TEXT,
    "seconds": _REAL,
}


def trial_rows(view: TrialsView) -> list[Row]:
    """One flat row a trial: id, status, reasons, group, figures, dotted settings, cost and provenance.

    The settings come under the names they have on the command line; a figure of the same name as a
    setting is prefixed `figure_`. Lists are JSON strings.
    """
    rows = []
    for record, settings in zip(view.records, view.settings, strict=True):
        row: Row = {
            "id": record.id,
            "status": record.status,
            "reasons": "; ".join(record.reasons),
            "group": view.groups.get(record.id),
        }
        taken = {*RUN_COLUMNS, *settings}
        row |= {f"figure_{k}" if k in taken else k: v for k, v in record.figures.items()}
        row |= settings
        row |= {f"seconds_{k}": record.seconds.get(k) for k in ("compile", "run")}
        row |= {k: record.provenance.get(k) for k in ("host", "device", "written", "versions")}
        rows.append({key: cell(value) for key, value in row.items()})
    return rows


def configuration_rows(view: TrialsView, *, best_first: bool = False) -> list[Row]:
    """One flat row a configuration: its repeats' metric and the settings they share; in the order asked for
    unless the best are wanted first.

    `mean`, `sd` (n - 1), `best` and `worst` are over the repeats that have a value, `n` counts all of them
    and `n_failed` those without one; `seconds` is what all of them cost, compilation included.
    """
    return [_configuration_row(view, one) for one in (ranked if best_first else configurations)(view)]


def write_trial_tables(view: TrialsView, directory: Path) -> tuple[Path, Path]:
    """Writes `runs.csv` and `configurations.csv`, and both as Parquet, each aside and then renamed.

    Returns:
        The paths of `runs.csv` and `configurations.csv`.

    Raises:
        StoreError: where the directory cannot be written.
    """
    names = list(RUN_COLUMNS)
    first = {name: RUN_COLUMNS[name] for name in names[:4]} | {view.metric: _REAL}
    runs, _ = write_rows(trial_rows(view), directory, "runs", first | RUN_COLUMNS)
    configs, _ = write_rows(configuration_rows(view), directory, "configurations", CONFIGURATION_COLUMNS)
    return runs, configs


def _configuration_row(view: TrialsView, one: Configuration) -> Row:
    settings = {k: v for k, v in view.settings[one.place].items() if k != view.seed_key}
    row: Row = {
        "best_id": view.records[one.place].id,
        "status": one.status,
        "metric": view.metric,
        "mean": one.mean,
        "sd": one.sd,
        "best": one.best,
        "worst": one.worst,
        "n": one.n,
        "n_failed": one.n_failed,
        "group": view.groups.get(view.records[one.place].id),
        "seconds": sum(sum(record.seconds.values()) for record in one.records),
    }
    row |= {f"setting_{k}" if k in row else k: v for k, v in settings.items()}
    return {key: cell(value) for key, value in row.items()}
