"""The report: one HTML file with everything in it, readable without a network and years from now."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from sweepflow.report.charts.calibration import calibration_chart
from sweepflow.report.charts.intervals import intervals_chart
from sweepflow.report.charts.panel import Chart, Style, styles
from sweepflow.report.charts.running import MAX_LINES, Arrays, running_chart
from sweepflow.report.charts.traces import traces_chart
from sweepflow.report.headline import SYMBOL, has_converged, headline, status_counts
from sweepflow.report.labels import Labels, derive_labels, target_key
from sweepflow.report.numbers import NOTHING, counted, half_width, number, short, with_error
from sweepflow.store.atomic import write_bytes
from sweepflow.store.record import Record

MAX_ROWS = 2000
"""Rows of the page's table; `results.csv` has them all."""
MAX_WARNINGS = 2000


@dataclass(frozen=True)
class Cell:
    """One cell of the page's table: what is read, and what is sorted by."""

    text: str
    value: float | str | None = None
    title: str = ""
    status: str = ""


@dataclass(frozen=True)
class Warned:
    """What is wrong with one estimate or target, in words."""

    id: str
    label: str
    status: str
    reasons: tuple[str, ...]


HEADERS = (
    ("target", ""),
    ("sampler", ""),
    ("λ̂", "the estimate, dimensionless"),
    ("± 95 %", "half the width of the 95 % interval"),
    ("status", ""),
    ("ESS", "effective sample size of the mean loss, over all chains"),
    ("R̂", "rank-normalised split R̂"),
    ("bias", "λ̂ at the step size minus λ̂ at a quarter of it"),
    ("accepted", "mean acceptance probability"),
    ("L₀", "full-data loss at w₀, nats"),
    ("params", "number of parameters"),
    ("gradients", "full-gradient equivalents of all chains together"),
    ("run s", "seconds, without compilation"),
)


def write_report(
    path: Path,
    *,
    name: str,
    command: str,
    estimates: Sequence[Record],
    targets: Mapping[str, Record],
    arrays: Arrays,
) -> None:
    """Writes the report aside and renames it to `path`.

    Args:
        path: The HTML file; its directory is made.
        name: The sweep's name.
        command: What the user typed.
        estimates: Records of the workload `llc`, in the order in which they were asked for.
        targets: Records of the workload `target`, by id.
        arrays: Loads the arrays of an estimate; called only for those that are drawn.

    Raises:
        StoreError: where the directory cannot be written.
    """
    html = render(name=name, command=command, estimates=estimates, targets=targets, arrays=arrays)
    write_bytes(path, html.encode())


def render(
    *,
    name: str,
    command: str,
    estimates: Sequence[Record],
    targets: Mapping[str, Record],
    arrays: Arrays,
) -> str:
    """The report as HTML; arguments as for `write_report`."""
    labels = derive_labels(estimates, targets)
    charts = _charts(estimates, labels, arrays)
    # Jinja2 escapes whatever the template prints, except what is marked safe there: our own CSS and JS,
    # and JSON in which `<` cannot occur.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweepflow.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=headline(estimates, targets),
        name=name,
        command=command,
        headers=HEADERS,
        rows=[_row(e, targets, labels) for e in estimates[:MAX_ROWS]],
        cut=len(estimates) - MAX_ROWS,
        counts=status_counts(estimates),
        symbols=SYMBOL,
        warned=_warned(estimates, targets, labels),
        max_warnings=MAX_WARNINGS,
        charts=charts,
        figures=_script_json([panel.figure for chart in charts for panel in chart.panels]),
        provenance=_provenance(estimates, targets),
        css=_page_file("page.css"),
        js=_page_file("page.js"),
        plotly=(importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
        if charts
        else "",
    )


def _charts(estimates: Sequence[Record], labels: Labels, arrays: Arrays) -> list[Chart]:
    if not estimates:
        return []
    charts = [
        intervals_chart(estimates, labels, _series(estimates, labels)),
        calibration_chart(estimates, labels),
        running_chart(estimates, labels, arrays),
        traces_chart(estimates, labels, arrays),
    ]
    return [chart for chart in charts if chart is not None and chart.panels]


def _series(estimates: Sequence[Record], labels: Labels) -> dict[str, Style]:
    """A style an estimate: by sampler where few are told apart by eye, else by the sampler's kind."""
    few = len(set(labels.sampler.values())) <= MAX_LINES
    names = {e.id: (labels.sampler if few else labels.kind)[e.id] for e in estimates}
    known = styles(list(names.values()))
    return {id: known[label] for id, label in names.items()}


def _row(estimate: Record, targets: Mapping[str, Record], labels: Labels) -> list[Cell]:
    figures, key = estimate.figures, target_key(estimate)
    target = targets.get(key)
    unsettled = target is not None and not has_converged(target)
    label = labels.target[key]
    llc, half = number(figures, "llc"), half_width(figures)
    # The value to the same place as its error bar.
    value, _, error = with_error(llc, half).partition(" ± ")
    seconds = estimate.seconds.get("run")
    cells = [
        Cell(label + (" †" if unsettled else ""), label, "did not reach a minimum" if unsettled else key),
        Cell(labels.sampler[estimate.id], labels.sampler[estimate.id], estimate.id),
        Cell(value, llc),
        Cell(error or NOTHING, half if llc is not None else None),
        Cell(estimate.status, estimate.status, "; ".join(estimate.reasons), estimate.status),
    ]
    for figure, digits in (("ess_mean", 3), ("r_hat", 3), ("llc_bias", 2), ("acceptance", 2), ("L0", 4)):
        cells.append(Cell(short(number(figures, figure), digits), number(figures, figure)))
    for figure in ("num_params", "full_gradients"):
        whole = number(figures, figure)
        cells.append(Cell(NOTHING if whole is None else f"{whole:,.0f}", whole))
    cells.append(Cell(short(seconds, 2), seconds))
    return cells


def _warned(estimates: Sequence[Record], targets: Mapping[str, Record], labels: Labels) -> list[Warned]:
    lost = [
        Warned(key, f"{labels.target[key]} (target)", t.status, t.reasons or ("did not reach a minimum",))
        for key, t in targets.items()
        if not has_converged(t)
    ]
    return lost + [
        Warned(e.id, labels.of(e), e.status, e.reasons or ("no reason was recorded",))
        for e in estimates
        if e.status != "ok" or e.reasons
    ]


def _provenance(estimates: Sequence[Record], targets: Mapping[str, Record]) -> list[tuple[str, str]]:
    """What the records say of where and with what they were made; several values side by side."""
    records = [*targets.values(), *estimates]
    known: dict[str, dict[str, None]] = {}
    for record in records:
        for key, value in record.provenance.items():
            known.setdefault(key, {})[_words(value)] = None
    facts = [
        ("targets", counted(len(targets), "target")),
        ("estimates", counted(len(estimates), "estimate")),
        ("seconds compiling", short(sum(r.seconds.get("compile", 0.0) for r in records))),
        ("seconds running", short(sum(r.seconds.get("run", 0.0) for r in records))),
    ]
    return facts + [(key, _several(list(values))) for key, values in known.items()]


def _several(values: Sequence[str]) -> str:
    if len(values) <= 3:
        return " | ".join(values)
    return f"{min(values)} … {max(values)} ({len(values):,} different)"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return str(value)


def _page_file(name: str) -> str:
    return (importlib.resources.files("sweepflow.report") / "template" / name).read_text("utf-8")


def _script_json(value: object) -> str:
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
