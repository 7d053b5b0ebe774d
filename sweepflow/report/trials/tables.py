"""Flat rows of a sweep and their files: `runs.*` with one row for each trial, and `configurations.*`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa

from sweepflow.report.table import REAL, TEXT, WHOLE, Row, cells, write_rows
from sweepflow.report.trials.configurations import Configuration, configurations, ranked
from sweepflow.report.trials.view import TrialsView

SETTING = "setting_"
"""Prefix of a setting that has the same name as one of the fixed columns."""
RUN_COLUMNS: dict[str, pa.DataType] = {
    "id": TEXT,
    "status": TEXT,
    "reasons": TEXT,
    "group": TEXT,
    "seconds_compile": REAL,
    "seconds_run": REAL,
    "host": TEXT,
    "device": TEXT,
    "written": TEXT,
    "versions": TEXT,
}
"""Columns of every `runs.*`, with the metric before the seconds; other figures and settings follow."""

CONFIGURATION_COLUMNS: dict[str, pa.DataType] = {
    "best_id": TEXT,
    "status": TEXT,
    "metric": TEXT,
    "mean": REAL,
    "sd": REAL,
    "best": REAL,
    "worst": REAL,
    "n": WHOLE,
    "n_failed": WHOLE,
    "group": TEXT,
    "seconds": REAL,
}


def trial_rows(view: TrialsView) -> list[Row]:
    """One flat row for each trial: id, status, reasons, group, figures, dotted settings, cost and provenance.

    Settings have their names from the command line, with the prefix `setting_` if every table has a column of
    that name. A figure with the name of a column or of a setting gets the prefix `figure_`. Lists are JSON
    strings.
    """
    return [cells(row) for row in _trial_rows(view)]


def _trial_rows(view: TrialsView) -> list[Row]:
    rows = []
    for record, settings in zip(view.records, view.settings, strict=True):
        row: Row = {
            "id": record.id,
            "status": record.status,
            "reasons": "; ".join(record.reasons),
            "group": view.groups.get(record.id),
        }
        ours = _renamed(settings, RUN_COLUMNS)
        taken = {*RUN_COLUMNS, *ours}
        row |= {f"figure_{k}" if k in taken else k: v for k, v in record.figures.items()}
        row |= ours
        row |= {f"seconds_{k}": record.seconds.get(k) for k in ("compile", "run")}
        row |= {k: record.provenance.get(k) for k in ("host", "device", "written", "versions")}
        rows.append(row)
    return rows


def _renamed(settings: Row, taken: Collection[str]) -> Row:
    """Settings by name, with a prefix for names that other columns have."""
    return {f"{SETTING}{key}" if key in taken else key: value for key, value in settings.items()}


def configuration_rows(view: TrialsView, *, best_first: bool = False) -> list[Row]:
    """One flat row for each configuration: the metric of its repeats and their common settings. Rows are in
    the requested order, or best first if `best_first` is true.

    `mean`, `sd` (n - 1), `best` and `worst` are over the repeats with a value. `n` counts all repeats, and
    `n_failed` the repeats without a value. `seconds` is the cost of all repeats, compilation included.
    """
    found = (ranked if best_first else configurations)(view)
    return [cells(_configuration_row(view, one)) for one in found]


def write_trial_tables(view: TrialsView, directory: Path) -> tuple[Path, Path]:
    """Write `runs.csv` and `configurations.csv`, and both as Parquet, each by a renamed temporary file.

    Returns:
        The paths of `runs.csv` and `configurations.csv`.

    Raises:
        StoreError: if the directory cannot be written.
    """
    names = list(RUN_COLUMNS)
    first = {name: RUN_COLUMNS[name] for name in names[:4]} | {view.metric: REAL}
    settings = {key: None for one in view.settings for key in one}
    runs, _ = write_rows(
        _trial_rows(view), directory, "runs", first | RUN_COLUMNS, _renamed(settings, RUN_COLUMNS)
    )
    configs, _ = write_rows(
        [_configuration_row(view, one) for one in configurations(view)],
        directory,
        "configurations",
        CONFIGURATION_COLUMNS,
        _renamed(settings, CONFIGURATION_COLUMNS),
    )
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
    return row | _renamed(settings, CONFIGURATION_COLUMNS)
