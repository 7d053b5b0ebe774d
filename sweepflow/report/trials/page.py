"""The report of a hyperparameter sweep: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweepflow.report.charts.panel import Chart
from sweepflow.report.charts.running import Arrays
from sweepflow.report.document import Cell, Column, Document, Table, Warned, html, provenance_facts
from sweepflow.report.numbers import NOTHING, counted, number, short
from sweepflow.report.trials.charts.curves import curves_chart
from sweepflow.report.trials.charts.descents import descents_chart
from sweepflow.report.trials.charts.failures import failures_chart
from sweepflow.report.trials.charts.groups import groups_chart
from sweepflow.report.trials.charts.importance import importance_chart
from sweepflow.report.trials.charts.pairs import pairs_chart
from sweepflow.report.trials.charts.parallel import parallel_chart
from sweepflow.report.trials.charts.progress import progress_chart
from sweepflow.report.trials.charts.response import response_chart
from sweepflow.report.trials.configurations import Configuration, has_repeats, ranked
from sweepflow.report.trials.dimension import dimensions
from sweepflow.report.trials.headline import caveats, headline, mean_text
from sweepflow.report.trials.importance import importance
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.atomic import write_bytes

MAX_ROWS = 500
"""Most rows of the page's table, the best ones; `configurations.csv` has all of them."""
MAX_KEYS = 12
MAX_WARNINGS = 300
FIGURES = (
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "num_params",
    "rung",
)
"""Figures that have a column if any trial has them."""


def write_trials_report(path: Path, name: str, command: str, view: TrialsView, arrays: Arrays) -> None:
    """Write the report to a temporary file and rename it to `path`.

    Args:
        path: The HTML file; its directory is made.
        name: Name of the sweep.
        command: The command that the user typed.
        view: The sweep.
        arrays: Function that loads the arrays of a trial; called only for trials whose curves are drawn.

    Raises:
        StoreError: if the directory cannot be written.
    """
    write_bytes(path, render_trials(name, command, view, arrays).encode())


def render_trials(name: str, command: str, view: TrialsView, arrays: Arrays) -> str:
    """The report as HTML; arguments as for `write_trials_report`."""
    ours = ranked(view)
    title = headline(view)
    repeats = has_repeats(ours)
    figures = _figures(view)
    unit = "configuration" if repeats else "trial"
    counts = ", ".join(f"{count:,} {status}" for status, count in view.counts.items())
    counts = f"{counted(len(view.records), 'trial')}: {counts}" if repeats else counts
    document = Document(
        name=name,
        title=title[:1].upper() + title[1:],
        command=command,
        table=Table(
            heading="Configurations" if repeats else "Trials",
            columns=_columns(view, figures, repeats),
            rows=[_row(view, one, figures, repeats) for one in ours[:MAX_ROWS]],
            hint=" ".join([*caveats(view), f"{counted(len(ours), unit)}, the best first ({counts})"]),
            cut=len(ours) - MAX_ROWS,
            file="configurations.csv" if repeats else "runs.csv",
            empty="This sweep holds no trials, so there is nothing to draw.",
        ),
        charts=_charts(name, view, ours, arrays),
        warned=_warned(view),
        max_warnings=MAX_WARNINGS,
        warned_file="runs.csv",
        no_warnings="every trial is ok",
        provenance=provenance_facts({"trial": len(view.records), "configuration": len(ours)}, view.records),
    )
    return html(document, "trials.html.j2")


def _charts(name: str, view: TrialsView, ours: Sequence[Configuration], arrays: Arrays) -> list[Chart]:
    axes = dimensions(view)
    matter = importance(view, axes)
    by_importance = [axes[i] for i in matter.order]
    charts = [
        descents_chart(view, arrays),
        parallel_chart(view, by_importance, matter.means_something),
        response_chart(view, by_importance, ours, matter.means_something),
        importance_chart(view, axes, matter),
        pairs_chart(view, by_importance, matter.means_something),
        groups_chart(view),
        curves_chart(view, arrays),
        progress_chart([(name, view)]),
        failures_chart(view, by_importance),
    ]
    return [chart for chart in charts if chart is not None]


def _columns(view: TrialsView, figures: Sequence[str], repeats: bool) -> list[Column]:
    columns = [Column("trial", "the best repeat's id" if repeats else "its id", words=True)]
    columns.append(Column("status", "the worst of its repeats'" if repeats else "", words=True))
    columns.append(Column(view.metric, f"mean over repeats; {view.better}" if repeats else view.better))
    if repeats:
        columns += [
            Column("± sd", "standard deviation between repeats"),
            Column("best", "the best repeat"),
            Column("worst", "the worst repeat"),
            Column("n", "repeats with a value, of how many"),
        ]
    columns += [Column(view.names[key], key, _is_words(view, key)) for key in view.varying[:MAX_KEYS]]
    columns += [Column(name, "of the best repeat" if repeats else "") for name in figures]
    return [*columns, Column("run s", "seconds, without compilation" + (", all repeats" if repeats else ""))]


def _is_words(view: TrialsView, key: str) -> bool:
    return any(isinstance(settings.get(key), str) for settings in view.settings)


def _figures(view: TrialsView) -> list[str]:
    present = {key for record in view.records for key in record.figures}
    return [name for name in FIGURES if name in present and name != view.metric]


def _row(view: TrialsView, one: Configuration, figures: Sequence[str], repeats: bool) -> list[Cell]:
    record, settings = view.records[one.place], view.settings[one.place]
    reasons = "; ".join(dict.fromkeys(reason for r in one.records for reason in r.reasons))
    cells = [
        Cell(record.id, record.id, view.label(one.place)),
        Cell(one.status, one.status, reasons, one.status),
        Cell(mean_text(one) if one.mean is not None else NOTHING, one.mean),
    ]
    if repeats:
        cells += [
            Cell(one.value_text.partition(" ± ")[2] or NOTHING, one.sd),
            Cell(short(one.best, 4), one.best),
            Cell(short(one.worst, 4), one.worst),
            Cell(f"{len(one.values)}/{one.n}" if one.n_failed else str(one.n), len(one.values)),
        ]
    for key in view.varying[:MAX_KEYS]:
        value = settings.get(key)
        text = view.text(one.place, key)
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        cells.append(Cell(text, value if plain else None if value is None else text))
    for name in figures:
        figure = number(record.figures, name)
        cells.append(Cell(short(figure, 4), figure))
    seconds = sum(r.seconds.get("run", 0.0) for r in one.records)
    return [*cells, Cell(short(seconds, 2), seconds)]


def _warned(view: TrialsView) -> list[Warned]:
    return [
        Warned(record.id, view.label(i), record.status, record.reasons or ("no reason was recorded",))
        for i, record in enumerate(view.records)
        if record.status != "ok" or record.reasons
    ]
