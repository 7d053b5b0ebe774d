"""Colours of values, and the marks that all charts of trials share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from plotly.colors import sample_colorscale

from sweepflow.report.charts.panel import COLOURS, INK, MUTED, Json, Style
from sweepflow.report.numbers import short
from sweepflow.report.trials.charts.scale import Scale
from sweepflow.report.trials.dimension import Dimension, Ticks
from sweepflow.report.trials.view import TrialsView

POINT = Style("a trial", COLOURS[0], "circle", "solid")
BEST = Style("the best trial", COLOURS[1], "star", "solid")
LOST = Style("diverged or failed", INK, "x-thin", "dot")
MEDIAN = Style("median", INK, "circle", "dash")
STOPPED = Style("stopped by halving at an earlier rung", MUTED, "triangle-down", "solid")


def colour_scale() -> list[list[float | str]]:
    """Plotly's colour scale from bad to good: Cividis, dark where the metric is good."""
    return [[i / 8, name] for i, name in enumerate(reversed(binned_colours(9)))]


def toned(scale: Scale, values: np.ndarray) -> np.ndarray:
    """Positions on the metric's axis, with the sign for which more is better, as colour bars show them."""
    return -scale.sign * scale.at(values)


def distinct(ticks: Ticks) -> Ticks:
    """The ticks without those that repeat the label of an earlier tick."""
    first: dict[str, float] = {}
    for place, text in ticks:
        first.setdefault(text, place)
    return [(place, text) for text, place in first.items()]


def binned_colours(count: int) -> list[str]:
    """The given number of colours, from the best to the worst."""
    return _samples([i / max(count - 1, 1) for i in range(count)])


def colour_bar(scale: Scale) -> Json:
    """Plotly's colour axis for positions from `toned`: the best values are at the top, and dark."""
    ends = sorted((-scale.sign * scale.low, -scale.sign * scale.high))
    ticks = distinct([(-scale.sign * place, text) for place, text in scale.ticks])
    return {
        "colorscale": colour_scale(),
        "cmin": ends[0],
        "cmax": ends[1],
        "colorbar": {
            "title": {"text": scale.metric, "side": "right"},
            "thickness": 12,
            "tickvals": [place for place, _ in ticks],
            "ticktext": [text for _, text in ticks],
        },
    }


def told(view: TrialsView, place: int, axis: Dimension | None = None) -> str:
    """Hover text of a trial: its setting on the axis, its value or its status, and its id."""
    record = view.records[place]
    value = float(view.values[place])
    end = f"{view.metric} = {short(value, 4)}" if np.isfinite(value) else record.status
    flag = " (flagged)" if record.status == "flagged" else ""
    flag += " (stopped by halving)" if view.stopped[place] else ""
    setting = f"{axis.name} = {axis.texts[place]}<br>" if axis is not None else ""
    return f"{setting}{end}{flag}<br>{record.id}"


def spread_over(places: np.ndarray, at_most: int, first: int) -> np.ndarray:
    """Select at most `at_most` of trials sorted best first: the `first` best ones, and the rest evenly."""
    if len(places) <= at_most:
        return places
    rest = np.linspace(first, len(places) - 1, at_most - first).round().astype(int)
    return places[np.concatenate([np.arange(first), rest])]


def evenly(places: np.ndarray, at_most: int) -> np.ndarray:
    """Select at most `at_most` places, evenly spread."""
    if len(places) <= at_most:
        return places
    return places[np.linspace(0, len(places) - 1, at_most).round().astype(int)]


def _samples(shares: Sequence[float]) -> list[str]:
    # Up to 0.92: the last yellow does not hold on white.
    names = sample_colorscale("Cividis", [0.92 * share for share in shares], colortype="tuple")
    return ["#" + "".join(f"{round(255 * c):02x}" for c in name) for name in names]
