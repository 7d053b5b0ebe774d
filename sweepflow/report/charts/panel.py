"""Elements that charts share: colours, marker shapes, axes, and the panel with one Plotly figure."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sweepflow.report.numbers import number, points
from sweepflow.storage.record import Record

Json = dict[str, Any]

LLC_AXIS = "λ̂ (dimensionless)"
COST_AXIS = "full-gradient equivalents per chain"
LOSS_AXIS = "L<sub>n</sub> (nats)"

INK, MUTED, GRID = "#1a1a1a", "#595959", "#e6e6e6"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

# Okabe and Ito's colours that hold on white (their yellow does not), and a grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "pentagon", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")


@dataclass(frozen=True)
class Style:
    """Style of one series, which never differs by colour alone; with the dash `none` only marks are drawn."""

    label: str
    colour: str
    symbol: str
    dash: str


@dataclass(frozen=True)
class Panel:
    """One figure with its own title.

    Attributes:
        title: Title as plain text.
        figure: A Plotly figure as JSON: `data` and `layout`.
        alarm: Words shown beside the title if something is wrong.
        height: Height in CSS pixels.
    """

    title: str
    figure: Json
    alarm: str = ""
    height: int = 280


@dataclass(frozen=True)
class Chart:
    """Panels that belong together, with one legend.

    Attributes:
        heading: Heading as plain text.
        reading: Explanation of the panels, in a sentence or two.
        panels: The panels in the order in which they are drawn.
        legend: The legend, with one entry for each series.
        note: Note on anything that was left out.
        columns: Number of panels side by side on a wide page.
        marks: Marks in the legend: `markers`, `lines` or `lines+markers`.
    """

    heading: str
    reading: str
    panels: tuple[Panel, ...]
    legend: tuple[Style, ...] = ()
    note: str = ""
    columns: int = 2
    marks: str = "lines+markers"


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each label; the styles repeat after eight."""
    count = len(COLOURS)
    return {
        label: Style(label, COLOURS[i % count], SYMBOLS[i % count], DASHES[i % count])
        for i, label in enumerate(dict.fromkeys(labels))
    }


def escaped(text: str) -> str:
    """Escape text for a place where Plotly would read mark-up."""
    return html.escape(text, quote=False)


def faded(colour: str, alpha: float) -> str:
    """`#rrggbb` as an rgba() with the given opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def layout(x: Json, y: Json, **more: Any) -> Json:
    """A layout with the page's font, grid and margins around the two given axes."""
    axis = {
        "gridcolor": GRID,
        "linecolor": MUTED,
        "showline": True,
        "ticks": "outside",
        "tickcolor": MUTED,
        "zeroline": False,
        "automargin": True,
    }
    return {
        "xaxis": axis | x,
        "yaxis": axis | y,
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 56, "r": 24, "t": 12, "b": 48},
        "showlegend": False,
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": INK}},
        **more,
    }


def axis_title(text: str) -> Json:
    """An axis title, close enough to its ticks for a small panel."""
    return {"title": {"text": text, "standoff": 8}}


def error_bars(
    members: Sequence[Record], thickness: float = 1.5, width: int = 4, without: Collection[str] = ()
) -> Json:
    """The 95 % intervals of estimates around their λ̂, as a trace's `error_y`.

    Args:
        members: Estimates with a value, in the order of the trace.
        thickness, width: Thickness of a bar and width of its caps, in pixels.
        without: Ids of the estimates that get no bar.
    """

    def lengths(side: str) -> list[float | None]:
        bounds = [None if e.id in without else number(e.figures, side) for e in members]
        return points(
            0.0 if bound is None else abs(bound - float(e.figures["llc"]))
            for e, bound in zip(members, bounds, strict=True)
        )

    return {
        "type": "data",
        "symmetric": False,
        "array": lengths("llc_high"),
        "arrayminus": lengths("llc_low"),
        "thickness": thickness,
        "width": width,
    }


def said(text: str) -> Json:
    """An annotation in the middle of an empty panel."""
    return {
        "text": escaped(text),
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.5,
        "showarrow": False,
        "font": {"color": MUTED, "size": 13},
        "bgcolor": "white",
    }
