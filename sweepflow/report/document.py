"""The page that every report is: a table, charts, warnings and provenance in one self-contained HTML file."""

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
        name: Its header.
        meaning: Shown where the header is pointed at.
        words: Whether it holds words, which stand to the left; numbers stand to the right.
    """

    name: str
    meaning: str = ""
    words: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell of the page's table: what is read, and what is sorted by."""

    text: str
    value: float | str | None = None
    title: str = ""
    status: str = ""


@dataclass(frozen=True)
class Warned:
    """What is wrong with one trial, in words."""

    id: str
    label: str
    status: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The page's table.

    Attributes:
        heading: Plain text; in lower case it is the section's anchor.
        columns: One for each cell of a row.
        rows: Those that are shown.
        hint: What is in it, in a sentence without its full stop.
        cut: How many rows were left out.
        file: Where all rows are.
        empty: What is said where there is no row.
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
    """What a report's page holds.

    Attributes:
        name: The sweep's name.
        title: What was found, in one line.
        command: What the user typed.
        table: The results.
        charts: In the order in which they are drawn.
        warned: Everything that is not well.
        max_warnings: How many of them are shown.
        warned_file: Where all of them are.
        no_warnings: What is said where there are none.
        provenance: Facts about where and with what it was made.
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
        document: What it holds.
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
    """What the records say of where and with what they were made; several values side by side.

    Args:
        counts: How many there are of what, `{"target": 3}`.
        records: All that the page tells of.
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
    """JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
