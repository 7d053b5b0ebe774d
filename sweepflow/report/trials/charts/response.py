"""Chart of the metric against each key: one panel for each key, one marker for each trial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweepflow.report.charts.panel import INK, MUTED, Chart, Json, Panel, axis_title, escaped, faded, layout
from sweepflow.report.numbers import points
from sweepflow.report.trials.charts.omissions import omissions
from sweepflow.report.trials.charts.palette import (
    BEST,
    LOST,
    MEDIAN,
    POINT,
    STOPPED,
    evenly,
    spread_over,
    told,
)
from sweepflow.report.trials.charts.scale import Scale, metric_scale
from sweepflow.report.trials.configurations import (
    Configuration,
    best_first,
    best_in_words,
    configuration_numbers,
    has_repeats,
)
from sweepflow.report.trials.dimension import Dimension
from sweepflow.report.trials.view import TrialsView

MAX_PANELS = 12
MAX_MARKERS = 9000
"""Most markers over all panels: a browser draws this many without delay."""
MIN_FOR_MEDIAN, MEDIAN_BINS = 40, 8
MAX_TICKS, MAX_NUMBERS = 12, 6


def response_chart(
    view: TrialsView, axes: Sequence[Dimension], ours: Sequence[Configuration], important: bool = False
) -> Chart | None:
    """Panels in the order of the axes; None if no key varies.

    Args:
        view: The sweep.
        axes: The keys' axes, the most important first.
        ours: Configurations of the sweep; a line joins the repeats of each.
        important: Whether the axes are ordered by importance.
    """
    if not axes:
        return None
    shown = axes[:MAX_PANELS]
    scale = metric_scale(view, band=bool(len(view.lost)))
    each = max(MAX_MARKERS // len(shown), 200)
    drawn, lost = spread_over(best_first(view), each, each // 4), evenly(view.lost, each // 3)
    panels = tuple(_panel(view, axis, scale, ours, drawn, lost) for axis in shown)
    reading = f"{scale.better} A marker is a trial, open where it was flagged, a star the best one."
    reading += f" {best_in_words(view)}" if best_in_words(view) else ""
    stopped = bool(view.stopped[drawn].any())
    if stopped:
        reading += (
            " A grey triangle is a trial that halving stopped at an earlier rung than others: its value is of"
            " when it stopped."
        )
    if len(view.lost):
        edge = "upper" if scale.sign > 0 else "lower"
        reading += f" × at the {edge} edge is a trial that diverged or failed."
    if has_repeats(ours):
        reading += " Repeats of a configuration are joined by a line."
    with_median = any(len(p.figure["data"]) and p.figure["data"][-1].get("name") == "median" for p in panels)
    if with_median:
        reading += " The dashed line is the median of trials near a setting."
    legend = ([POINT, BEST] if len(drawn) else []) + ([STOPPED] if stopped else [])
    legend += [LOST] if len(lost) else []
    return Chart(
        heading=f"{view.metric} against each key",
        reading=reading,
        panels=panels,
        legend=tuple(legend),
        note=_note(view, axes, important, scale, len(drawn), len(lost)),
        columns=3 if len(panels) > 4 else 2,
        marks="markers",
    )


def _panel(
    view: TrialsView,
    axis: Dimension,
    scale: Scale,
    ours: Sequence[Configuration],
    drawn: np.ndarray,
    lost: np.ndarray,
) -> Panel:
    at = axis.scattered(configuration_numbers(view))
    data: list[Json] = []
    joined = _joined(view, at, scale, ours, set(drawn.tolist()))
    if joined["x"]:
        data.append(joined)
    if len(drawn):
        stopped, others = drawn[view.stopped[drawn]], drawn[1:][~view.stopped[drawn[1:]]]
        if len(stopped):
            data.append(_stopped(view, axis, at, scale, stopped))
        data += [_markers(view, axis, at, scale, others), _star(view, axis, at, scale, drawn[:1])]
    if len(lost):
        data.append(_crosses(view, axis, at, scale, lost))
    median = _median(view, axis, scale)
    if median:
        data.append(median)
    # Without a value there is nothing that the metric's numbers could be read by.
    y = scale.axis if len(drawn) else scale.axis | {"showticklabels": False, "ticks": "", "showgrid": False}
    return Panel(axis.key, {"data": data, "layout": layout(x_axis(axis), y)}, height=290)


def x_axis(axis: Dimension) -> Json:
    """A key's axis for Plotly, with fewer ticks if they would overlap."""
    slots = [tick for tick in axis.ticks if axis.continuous and tick[0] < axis.start]
    rest = axis.ticks[len(slots) :]
    ticks = slots + rest[:: -(-len(rest) // (MAX_NUMBERS if axis.continuous else MAX_TICKS)) or 1]
    long = sum(len(text) + 2 for _, text in ticks) > 42
    return {
        "tickvals": points([place for place, _ in ticks], 7),
        "ticktext": [escaped(text) for _, text in ticks],
        "range": points([axis.low, axis.high], 7),
        "tickangle": -40 if long else 0,
        **axis_title(escaped(axis.title)),
    }


def _markers(view: TrialsView, axis: Dimension, at: np.ndarray, scale: Scale, places: np.ndarray) -> Json:
    many = len(places) > 300
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": points(at[places]),
        "y": scale.drawn(view.values[places]),
        "marker": {
            "color": faded(POINT.colour, 0.45 if many else 0.7),
            "size": 5 if many else 7,
            "symbol": [
                POINT.symbol + ("-open" if view.records[i].status == "flagged" else "")
                for i in places.tolist()
            ],
        },
        "text": _texts(view, axis, places),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _star(view: TrialsView, axis: Dimension, at: np.ndarray, scale: Scale, places: np.ndarray) -> Json:
    marker = {"color": BEST.colour, "size": 14, "symbol": "star", "line": {"color": INK, "width": 1}}
    return _markers(view, axis, at, scale, places) | {"name": "best", "marker": marker}


def _stopped(view: TrialsView, axis: Dimension, at: np.ndarray, scale: Scale, places: np.ndarray) -> Json:
    size = 5 if len(places) > 300 else 8
    marker = {"color": faded(STOPPED.colour, 0.65), "size": size, "symbol": STOPPED.symbol}
    return _markers(view, axis, at, scale, places) | {"name": "stopped", "marker": marker}


def _crosses(view: TrialsView, axis: Dimension, at: np.ndarray, scale: Scale, places: np.ndarray) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "lost",
        "x": points(at[places]),
        "y": [scale.edge] * len(places),
        "marker": {"color": INK, "size": 7, "symbol": "x-thin", "line": {"width": 1.3, "color": INK}},
        "text": _texts(view, axis, places),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _joined(
    view: TrialsView, at: np.ndarray, scale: Scale, ours: Sequence[Configuration], drawn: set[int]
) -> Json:
    x: list[float | None] = []
    y: list[float | None] = []
    for one in ours:
        places = [p for p in one.places if p in drawn]
        if len(places) > 1:
            x += [*points(at[places]), None]
            y += [*scale.drawn(view.values[places]), None]
    line = {"color": faded(MUTED, 0.8), "width": 1.5}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}


def _median(view: TrialsView, axis: Dimension, scale: Scale) -> Json | None:
    """The median of the metric in bins along a number line, with equally many trials in each bin."""
    places = view.by_merit[axis.numbers[view.by_merit]]
    if len(places) < MIN_FOR_MEDIAN or len(np.unique(axis.at[places])) < MIN_FOR_MEDIAN // 2:
        return None
    ordered = places[np.argsort(axis.at[places], kind="stable")]
    bins = np.array_split(ordered, min(MEDIAN_BINS, len(ordered) // 12))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "median",
        "x": points(np.median(axis.at[b]) for b in bins),
        "y": scale.drawn(np.array([np.median(view.values[b]) for b in bins])),
        "line": {"color": MEDIAN.colour, "width": 1.8, "dash": MEDIAN.dash},
        "hoverinfo": "skip",
    }


def _texts(view: TrialsView, axis: Dimension, places: np.ndarray) -> list[str]:
    return ["<br>".join(map(escaped, told(view, i, axis).split("<br>"))) for i in places.tolist()]


def _note(
    view: TrialsView, axes: Sequence[Dimension], important: bool, scale: Scale, drawn: int, lost: int
) -> str:
    return " ".join(
        [*omissions(view, len(axes), MAX_PANELS, important, drawn, lost), *scale.beyond(view.values)]
    )
