"""The report of estimates: one self-contained HTML file, readable without a network for years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sweepflow.report.charts.calibration import calibration_chart
from sweepflow.report.charts.intervals import intervals_chart
from sweepflow.report.charts.panel import Chart, Style, styles
from sweepflow.report.charts.running import MAX_LINES, Arrays, running_chart
from sweepflow.report.charts.traces import traces_chart
from sweepflow.report.document import Cell, Column, Document, Table, Warned, html, provenance_facts
from sweepflow.report.headline import headline, is_settled, status_counts
from sweepflow.report.labels import Labels, derive_labels, target_key
from sweepflow.report.numbers import NOTHING, half_width, number, short, with_error
from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.record import Record

MAX_ROWS = 2000
"""Most rows of the page's table; `results.csv` has all of them."""
MAX_WARNINGS = 2000


COLUMNS = (
    Column("target", words=True),
    Column("sampler", words=True),
    Column("λ̂", "the estimate, dimensionless"),
    Column("± 95 %", "half the width of the 95 % interval"),
    Column("status", words=True),
    Column("ESS", "effective sample size of the mean loss, over all chains"),
    Column("R̂", "rank-normalised split R̂"),
    Column("bias", "what the step size added to λ̂, by chains of half of it; it is subtracted"),
    Column("accepted", "mean acceptance probability; of SGLD, what a Metropolis correction would accept"),
    Column("L₀", "full-data loss at w₀, nats"),
    Column("params", "number of parameters"),
    Column("gradients", "full-gradient equivalents of all chains together"),
    Column("run s", "seconds, without compilation"),
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
    """Write the report to a temporary file and rename it to `path`.

    Args:
        path: The HTML file; its directory is made.
        name: Name of the sweep.
        command: The command that the user typed.
        estimates: Records of the workload `llc`, in the requested order.
        targets: Records of the workload `target`, by id.
        arrays: Function that loads the arrays of an estimate; called only for estimates that are drawn.

    Raises:
        StoreError: if the directory cannot be written.
    """
    page = render(name=name, command=command, estimates=estimates, targets=targets, arrays=arrays)
    write_bytes(path, page.encode())


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
    document = Document(
        name=name,
        title=headline(estimates, targets),
        command=command,
        table=Table(
            heading="Estimates",
            columns=COLUMNS,
            rows=[_row(e, targets, labels) for e in estimates[:MAX_ROWS]],
            hint=status_counts(estimates),
            cut=len(estimates) - MAX_ROWS,
            file="results.csv",
            empty="This sweep holds no estimates, so there is nothing to draw.",
        ),
        charts=_charts(estimates, labels, arrays),
        warned=_warned(estimates, targets, labels),
        max_warnings=MAX_WARNINGS,
        warned_file="results.csv",
        no_warnings="every estimate is sound and every target reached a minimum",
        provenance=provenance_facts(
            {"target": len(targets), "estimate": len(estimates)}, [*targets.values(), *estimates]
        ),
    )
    return html(document, "llc.html.j2")


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
    """A style for each estimate: by sampler if there are at most `MAX_LINES` samplers, which the eye can
    distinguish, else by the sampler's kind."""
    few = len(set(labels.sampler.values())) <= MAX_LINES
    names = {e.id: (labels.sampler if few else labels.kind)[e.id] for e in estimates}
    known = styles(list(names.values()))
    return {id: known[label] for id, label in names.items()}


def _row(estimate: Record, targets: Mapping[str, Record], labels: Labels) -> list[Cell]:
    figures, key = estimate.figures, target_key(estimate)
    target = targets.get(key)
    unsettled = target is not None and not is_settled(target)
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
        Cell(
            estimate.status, estimate.status, "; ".join((*estimate.advised, *estimate.notes)), estimate.status
        ),
    ]
    accepted = "acceptance" if number(figures, "mala_acceptance") is None else "mala_acceptance"
    for figure, digits in (("ess_mean", 3), ("r_hat", 3), ("llc_bias", 2), (accepted, 2), ("L0", 4)):
        cells.append(Cell(short(number(figures, figure), digits), number(figures, figure)))
    for figure in ("num_params", "full_gradients"):
        whole = number(figures, figure)
        cells.append(Cell(NOTHING if whole is None else f"{whole:,.0f}", whole))
    cells.append(Cell(short(seconds, 2), seconds))
    return cells


def _warned(estimates: Sequence[Record], targets: Mapping[str, Record], labels: Labels) -> list[Warned]:
    lost = [
        Warned(
            key,
            f"{labels.target[key]} (target)",
            t.status,
            t.advised or t.notes or ("did not reach a minimum",),
        )
        for key, t in targets.items()
        if not is_settled(t)
    ]
    return lost + [
        Warned(e.id, labels.of(e), e.status, (*e.advised, *e.notes) or ("no reason was recorded",))
        for e in estimates
        if e.status != "ok" or e.reasons
    ]
