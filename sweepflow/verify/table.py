"""Comparisons as a table, for a terminal and for a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from sweepflow.report.numbers import NOTHING, counted, markdown_table, short, with_error
from sweepflow.verify.case import Tolerance
from sweepflow.verify.compare import Comparison

HEADERS = ("case", "sampler", "truth", "λ̂ ± SE", "error", "in SE", "allowed", "")
NUMERIC = {"truth", "λ̂ ± SE", "error", "in SE"}


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Return a table with one line per comparison; the caption is the verdict on all of them."""
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        caption_justify="left",
        caption_style="",
        caption=Text(summary(comparisons)),
    )
    for header in HEADERS:
        if header in NUMERIC:
            table.add_column(header, justify="right", no_wrap=True)
        else:
            table.add_column(header, overflow="fold")
    for comparison in comparisons:
        *cells, verdict = _cells(comparison)
        style = "green" if comparison.within else "red"
        table.add_row(*map(Text, cells), Text(verdict, style=style))
    return table


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the same table in Markdown, with the note of each case, and the verdict below the table."""
    headers = [*HEADERS[:-1], "within", "note"]
    rows = [[*_cells(comparison), comparison.note] for comparison in comparisons]
    return f"{markdown_table(headers, rows, NUMERIC)}\n\n{summary(comparisons)}\n"


def summary(comparisons: Sequence[Comparison]) -> str:
    """Return one sentence: whether all are within their tolerance, else the number outside and the worst."""
    if not comparisons:
        return "nothing was compared"
    outside = [c for c in comparisons if not c.within]
    if not outside:
        return f"all of {counted(len(comparisons), 'estimate')} are within their tolerance"
    worst = max(outside, key=lambda c: float("inf") if c.error is None else abs(c.error))
    return (
        f"{len(outside)} of {counted(len(comparisons), 'estimate')} outside the tolerance, first of all "
        f"{worst.case.name} by {worst.case.sampler} ({_error(worst)})"
    )


def _cells(comparison: Comparison) -> list[str]:
    case, z = comparison.case, comparison.standard_errors
    return [
        case.name,
        case.sampler,
        short(case.truth, 4),
        with_error(comparison.llc, comparison.mcse),
        _error(comparison),
        NOTHING if z is None else f"{z:+.1f}",
        _allowed(case.tolerance),
        "✓" if comparison.within else "✗",
    ]


def _error(comparison: Comparison) -> str:
    return NOTHING if comparison.error is None else f"{100 * comparison.error:+.1f} %"


def _allowed(tolerance: Tolerance) -> str:
    bound = f"{100 * tolerance.relative:g} %"
    if tolerance.standard_errors is not None:
        bound += f", {tolerance.standard_errors:g} SE"
    return f"{bound}, or flagged" if tolerance.or_flagged else bound
