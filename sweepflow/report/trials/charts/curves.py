"""Learning curves of the best, the median and the worst trial."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sweepflow.report.charts.panel import (
    COLOURS,
    DASHES,
    SYMBOLS,
    Chart,
    Json,
    Panel,
    Style,
    axis_title,
    escaped,
    layout,
)
from sweepflow.report.charts.running import Arrays
from sweepflow.report.numbers import points, short
from sweepflow.report.trials.charts.scale import LOG_RATIO, log_axis
from sweepflow.report.trials.view import TrialsView

PREFIX = "curve."
WORDS = {
    "best": "the best trial",
    "median": "the median",
    "worst": "the worst",
    "diverged": "the first that diverged",
}
MAX_PANELS = 6
MAX_POINTS = 200
MAX_MARKERS = 30


def curves_chart(view: TrialsView, arrays: Arrays) -> Chart | None:
    """One panel a recorded curve; None where no drawn trial has one.

    Args:
        view: The sweep.
        arrays: Loads a trial's arrays; called for three trials at most, and one that diverged.
    """
    drawn = _drawn(view)
    loaded = {name: arrays(view.records[place]) for name, place in drawn.items()}
    names = dict.fromkeys(key for ours in loaded.values() for key in ours if key.startswith(PREFIX))
    if not names:
        return None
    series = {
        name: Style(f"{name}: {_said(view, place)}", COLOURS[i], SYMBOLS[i], DASHES[i])
        for i, (name, place) in enumerate(drawn.items())
    }
    ordered = sorted(names, key=lambda key: (key.removeprefix(PREFIX) not in view.metric, key not in names))
    panels = tuple(filter(None, (_panel(key, loaded, series) for key in ordered[:MAX_PANELS])))
    if not panels:
        return None
    left_out = len(names) - MAX_PANELS
    return Chart(
        heading="Learning curves",
        reading=f"By {view.metric}: {', '.join(WORDS[name] for name in drawn)}. A curve that ends early is of"
        " a trial that was stopped or left the finite numbers.",
        panels=panels,
        legend=tuple(series.values()),
        note=f"{left_out} more are recorded." if left_out > 0 else "",
        columns=2,
    )


def _drawn(view: TrialsView) -> dict[str, int]:
    places: dict[str, int] = {}
    if len(view.by_merit):
        places["best"] = int(view.by_merit[0])
    if len(view.by_merit) > 2:
        places["median"] = int(view.by_merit[len(view.by_merit) // 2])
    if len(view.by_merit) > 1:
        places["worst"] = int(view.by_merit[-1])
    diverged = next((i for i in view.lost.tolist() if view.records[i].status == "diverged"), None)
    return places if diverged is None else {**places, "diverged": diverged}


def _said(view: TrialsView, place: int) -> str:
    value = float(view.values[place])
    end = f"{view.metric} {short(value)}" if np.isfinite(value) else view.records[place].reasons
    told = end if isinstance(end, str) else "; ".join(end)
    label, id = view.label(place), view.records[place].id
    return " · ".join(part for part in (told, label, id) if part and (part != label or label != id))


def _panel(
    key: str, loaded: Mapping[str, Mapping[str, np.ndarray]], series: Mapping[str, Style]
) -> Panel | None:
    curves: dict[str, np.ndarray] = {}
    for name, ours in loaded.items():
        curve = np.asarray(ours.get(key, np.empty(0)), dtype=np.float64).ravel()
        if np.isfinite(curve).any():
            curves[name] = np.where(np.isfinite(curve), curve, np.nan)
    if not curves:
        return None
    finite = np.concatenate([c[np.isfinite(c)] for c in curves.values()])
    first = next(iter(curves.values()))
    falls = first[np.isfinite(first)][-1] < first[np.isfinite(first)][0]
    # What falls towards zero is read by its logarithm; what rises, an accuracy, is not.
    log = bool(falls and finite.min() > 0 and finite.max() > LOG_RATIO * finite.min())
    data = [_line(curve, series[name]) for name, curve in curves.items()]
    title = key.removeprefix(PREFIX)
    y = axis_title(escaped(title + (" (log)" if log else "")))
    if log:
        y |= log_axis(float(np.log10(finite.min())), float(np.log10(finite.max())))
    x = {**axis_title("epoch"), "nticks": 8, "rangemode": "tozero"}
    return Panel(title, {"data": data, "layout": layout(x, y)}, height=290)


def _line(curve: np.ndarray, style: Style) -> Json:
    stride = -(-len(curve) // MAX_POINTS)
    epochs = np.arange(1, len(curve) + 1)[::stride]
    few = int(np.isfinite(curve).sum()) <= MAX_MARKERS
    name = escaped(style.label.partition(":")[0])
    return {
        "type": "scatter",
        "mode": "lines+markers" if few else "lines",
        "name": escaped(style.label),
        "x": epochs.tolist(),
        "y": points(curve[::stride]),
        "line": {"color": style.colour, "width": 2, "dash": style.dash},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 6},
        "hovertemplate": f"{name}: %{{y:.4g}} after epoch %{{x}}<extra></extra>",
    }
