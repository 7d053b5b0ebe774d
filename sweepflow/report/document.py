"""The page of every report: a table, charts, warnings and provenance in one self-contained HTML file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from sweepflow.report.charts.panel import Chart
from sweepflow.report.headline import SYMBOL
from sweepflow.report.numbers import counted, short
from sweepflow.storage.record import Record

Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class Column:
    """One column of the page's table.

    Attributes:
        name: Header of the column.
        meaning: Text shown when the mouse points at the header.
        words: Whether the column contains words, which are aligned left; numbers are aligned right.
    """

    name: str
    meaning: str = ""
    words: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell of the page's table: its text, and the value that rows are sorted by."""

    text: str
    value: float | str | None = None
    title: str = ""
    status: str = ""


@dataclass(frozen=True)
class Warned:
    """The problems of one trial, in words."""

    id: str
    label: str
    status: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The page's table.

    Attributes:
        heading: Heading as plain text; in lower case it is the section's anchor.
        columns: The columns, one for each cell of a row.
        rows: The rows that are shown.
        hint: Content of the table, in a sentence without its full stop.
        cut: Number of rows that were left out.
        file: Name of the file with all rows.
        empty: Text shown if there is no row.
    """

    heading: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    hint: str
    cut: int
    file: str
    empty: str


@dataclass(frozen=True)
class Document:
    """The content of a report's page.

    Attributes:
        name: Name of the sweep.
        title: The findings, in one line.
        command: The command that the user typed.
        table: The results.
        charts: The charts in the order in which they are drawn.
        warned: All trials with problems.
        max_warnings: Number of warnings that are shown.
        warned_file: Name of the file with all warnings.
        no_warnings: Text shown if there are no warnings.
        provenance: Facts about the place and the software with which the results were made.
    """

    name: str
    title: str
    command: str
    table: Table
    charts: Sequence[Chart]
    warned: Sequence[Warned]
    max_warnings: int
    warned_file: str
    no_warnings: str
    provenance: Facts


def html(document: Document, template: str) -> str:
    """The page as HTML.

    Args:
        document: Content of the page.
        template: A file of `sweepflow/report/template/` that extends `page.html.j2` by its section "How to
            read it".
    """
    # Jinja2 escapes whatever the template prints, except what is marked safe there: our own CSS and JS,
    # and JSON in which `<` cannot occur.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweepflow.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = document.charts
    return environment.get_template(template).render(
        **vars(document),
        symbols=SYMBOL,
        figures=_script_json([panel.figure for chart in charts for panel in chart.panels]),
        css=_page_file("page.css"),
        js=_page_file("page.js"),
        plotly=(importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
        if charts
        else "",
    )


def provenance_facts(counts: Mapping[str, int], records: Sequence[Record]) -> Facts:
    """Collect the facts of the records about their origin; several values of a fact are listed side by side.

    Args:
        counts: Number of records by kind, such as `{"target": 3}`.
        records: All records that the page shows.
    """
    known: dict[str, dict[str, None]] = {}
    for record in records:
        for key, value in record.provenance.items():
            known.setdefault(key, {})[_words(value)] = None
    facts = [(f"{noun}s", counted(count, noun)) for noun, count in counts.items()]
    facts += [
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
    """JSON that is safe inside a script element: nothing in it can end the element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
