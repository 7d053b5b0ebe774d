"""Parallel coordinates: one line for each trial across all keys that vary, to its metric.

The chart uses plain lines instead of Plotly's `parcoords`, which needs WebGL and cannot be printed. A browser
on a remote machine often has no WebGL.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweepflow.report.charts.panel import GRID, INK, MUTED, Chart, Json, Panel, escaped, layout
from sweepflow.report.numbers import points, short
from sweepflow.report.trials.charts.omissions import omissions
from sweepflow.report.trials.charts.palette import (
    BEST,
    LOST,
    binned_colours,
    distinct,
    evenly,
    spread_over,
    told,
)
from sweepflow.report.trials.charts.scale import metric_scale
from sweepflow.report.trials.configurations import best_first, best_in_words, configuration_numbers
from sweepflow.report.trials.dimension import Dimension, Ticks
from sweepflow.report.trials.view import TrialsView

MAX_AXES = 8
MAX_LINES, MAX_LOST = 240, 48
BINS = 9
MAX_TICKS = 12


def parallel_chart(view: TrialsView, axes: Sequence[Dimension], important: bool = False) -> Chart | None:
    """One panel; None if no key varies or there are no trials.

    Args:
        view: The sweep.
        axes: The keys' axes, the most important first.
        important: Whether the axes are ordered by importance; otherwise they are ordered by rank correlation.
    """
    if not axes or not len(view.records):
        return None
    shown = axes[:MAX_AXES]
    scale = metric_scale(view)
    best = spread_over(best_first(view), MAX_LINES, MAX_LINES // 10)
    lost = evenly(view.lost, MAX_LOST)
    # Trials without a value end beyond the bad end of the metric's axis, at a place of their own.
    beyond = 1.09 if scale.sign > 0 else -0.09
    ends = np.clip((scale.at(view.values) - scale.low) / (scale.high - scale.low), 0.0, 1.0)
    ends = np.where(np.isfinite(ends), ends, beyond)
    numbers = configuration_numbers(view)
    heights = np.stack([*(axis.unit(axis.scattered(numbers)) for axis in shown), ends], axis=1)
    data = [_lines(view, shown, heights, lost, LOST.colour, 0.25, 1.0, "dot")] if len(lost) else []
    if len(best):
        data += _by_colour(view, shown, heights, best)
        data.append(_best(view, shown, heights, int(best[0])))
        bar = {"type": "scatter", "mode": "markers", "x": [0], "y": [0], "hoverinfo": "skip"}
        data.append(bar | {"marker": {"size": 0.1, "color": [0], **_colour_bar(view)}})
    ticks: list[Ticks] = [[(float(axis.unit(np.array(p))), t) for p, t in axis.ticks] for axis in shown]
    ends_ticks = [((p - scale.low) / (scale.high - scale.low), t) for p, t in scale.ticks if len(best)]
    if len(lost):
        ends_ticks.append((beyond, "lost"))
    names = [escaped(axis.title) for axis in shown] + [f"<b>{escaped(scale.metric)}</b>"]
    x: Json = {
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "side": "top",
        "range": [-0.35, len(names) - 0.75],
        "showgrid": False,
        "showline": False,
        "ticks": "",
        "tickangle": -25,
    }
    y: Json = {"visible": False, "range": [-0.13, 1.13]}
    figure: Json = {"data": data, "layout": layout(x, y)}
    figure["layout"] |= {
        "shapes": [_bar(i) for i in range(len(names))],
        "annotations": [
            _tick(i, place, text)
            for i, ours in enumerate([*ticks, ends_ticks])
            for place, text in _thin(ours)
        ],
        "margin": {"l": 16, "r": 16, "t": 44, "b": 12},
        "hovermode": "closest",
    }
    order = "importance" if important else f"rank correlation with {view.metric}"
    return Chart(
        heading="Parallel coordinates",
        reading="A line is a trial, from setting to setting to its metric on the right; the darker the"
        " better, and the thick line with stars is the best trial. Dotted lines are trials that diverged or"
        f" failed. Keys stand in the order of their {order}; point at a line where it crosses an axis to"
        f" read it. {best_in_words(view)}".rstrip(),
        panels=(Panel("", figure, height=440),),
        legend=((BEST,) if len(best) else ()) + ((LOST,) if len(lost) else ()),
        note=" ".join(
            [
                *omissions(view, len(axes), MAX_AXES, important, len(best), len(lost)),
                *scale.beyond(view.values),
            ]
        ),
        columns=1,
        marks="lines",
    )


def _by_colour(
    view: TrialsView, axes: Sequence[Dimension], heights: np.ndarray, best: np.ndarray
) -> list[Json]:
    """Lines by colour, the worst first, so that the best lines are drawn over the others.

    Colours depend on the rank. If they depended on the value, a few very large losses would give all other
    trials the same colour.
    """
    share = np.empty(len(view.records))
    share[view.by_merit] = np.arange(len(view.by_merit)) / len(view.by_merit)
    colours = binned_colours(BINS)
    lines = []
    for i in reversed(range(BINS)):
        ours = best[(share[best] * BINS).astype(int) == i]
        if len(ours):
            opacity, width = (0.9, 1.6) if i == 0 else (0.55 - 0.035 * i, 1.1)
            lines.append(_lines(view, axes, heights, ours, colours[i], opacity, width, "solid"))
    return lines


def _colour_bar(view: TrialsView) -> Json:
    """The colour bar from the best rank, at the top, to the worst, with the metric at a few ranks."""
    places = view.by_merit[np.linspace(0, len(view.by_merit) - 1, 5).round().astype(int)]
    texts = [short(float(v)) for v in view.values[places]]
    found = list(zip((1.0, 0.75, 0.5, 0.25, 0.0), texts, strict=True))
    # The ends first: of equals, they keep their tick.
    ticks = distinct([found[0], found[-1], *found[1:-1]])
    colours = binned_colours(9)
    return {
        # A share of 1 is the best here: the top of a colour bar is where people look for it.
        "colorscale": [[i / 8, colour] for i, colour in enumerate(reversed(colours))],
        "cmin": 0,
        "cmax": 1,
        "colorbar": {
            "title": {"text": f"{escaped(view.metric)}, coloured by rank", "side": "right"},
            "thickness": 12,
            "tickvals": [place for place, _ in ticks],
            "ticktext": [text for _, text in ticks],
        },
    }


def _lines(
    view: TrialsView,
    axes: Sequence[Dimension],
    heights: np.ndarray,
    places: np.ndarray,
    colour: str,
    opacity: float,
    width: float,
    dash: str,
) -> Json:
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for place in places.tolist():
        # A None ends a trial's line, so that all lines of a colour are one trace.
        x += [*range(heights.shape[1]), None]
        y += [*points(heights[place], 4), None]
        text += [escaped(told(view, place)), *[""] * heights.shape[1]]
        for i, axis in enumerate(axes):
            text[i - heights.shape[1] - 1] = _told(view, place, axis)
        text[-2] = _told(view, place, None)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "text": text,
        "opacity": opacity,
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _told(view: TrialsView, place: int, axis: Dimension | None) -> str:
    return "<br>".join(escaped(part) for part in told(view, place, axis).split("<br>"))


def _best(view: TrialsView, axes: Sequence[Dimension], heights: np.ndarray, place: int) -> Json:
    line = _lines(view, axes, heights, np.array([place]), BEST.colour, 1.0, 3.0, "solid")
    return line | {"mode": "lines+markers", "marker": {"symbol": "star", "size": 9, "color": BEST.colour}}


def _bar(i: int) -> Json:
    line = {"color": MUTED, "width": 1}
    return {"type": "line", "x0": i, "x1": i, "y0": -0.13, "y1": 1.13, "line": line, "layer": "below"}


def _tick(i: int, place: float, text: str) -> Json:
    return {
        "x": i,
        "y": place,
        "xanchor": "right",
        "xshift": -3,
        "text": escaped(text),
        "showarrow": False,
        "font": {"size": 11, "color": INK},
        "bgcolor": "rgba(255,255,255,0.8)",
        "bordercolor": GRID,
        "borderpad": 0,
    }


def _thin(ticks: Ticks) -> Ticks:
    return ticks[:: -(-len(ticks) // MAX_TICKS)] if ticks else ticks
