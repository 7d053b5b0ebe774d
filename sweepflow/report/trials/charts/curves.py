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
from sweepflow.report.trials.configurations import best_first, best_in_words
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
MAX_TICKS = 8
EPOCHS = "epochs_run"
"""Figure of trials whose curves have one point for each epoch."""
STEADY = "learning_rate"
"""Name of a curve that has no panel if it never changes: the legend shows its value."""


def curves_chart(view: TrialsView, arrays: Arrays) -> Chart | None:
    """One panel for each recorded curve; None if no drawn trial has one.

    Args:
        view: The sweep.
        arrays: Function that loads a trial's arrays; called for at most three trials, and one that diverged.
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
    found = {key: curves for key in ordered if (curves := _curves(key, loaded))}
    if not found:
        return None
    log = _losses_by_log(found)
    # Of other workloads it is not known what lies between two points: lines of a program, steps of a loop.
    unit = "epoch" if any(EPOCHS in record.figures for record in view.records) else "point"
    panels = tuple(
        _panel(key, found[key], series, log if _is_loss(key) else _falls_far(found[key]), unit)
        for key in list(found)[:MAX_PANELS]
    )
    left_out = len(found) - MAX_PANELS
    return Chart(
        heading="Learning curves",
        reading=f"By {view.metric}: {', '.join(WORDS[name] for name in drawn)}. A curve that ends early is of"
        " a trial that was stopped or left the finite numbers."
        f" {best_in_words(view)}".rstrip(),
        panels=panels,
        legend=tuple(series.values()),
        note=f"{left_out} more are recorded." if left_out > 0 else "",
        columns=2,
    )


def _drawn(view: TrialsView) -> dict[str, int]:
    places: dict[str, int] = {}
    order = best_first(view)
    if len(order):
        places["best"] = int(order[0])
    if len(order) > 2:
        places["median"] = int(order[len(order) // 2])
    if len(order) > 1:
        places["worst"] = int(order[-1])
    diverged = next((i for i in view.lost.tolist() if view.records[i].status == "diverged"), None)
    return places if diverged is None else {**places, "diverged": diverged}


def _said(view: TrialsView, place: int) -> str:
    value = float(view.values[place])
    end = f"{view.metric} {short(value)}" if np.isfinite(value) else view.records[place].reasons
    told = end if isinstance(end, str) else "; ".join(end)
    label, id = view.label(place), view.records[place].id
    return " · ".join(part for part in (told, label, id) if part and (part != label or label != id))


def _curves(key: str, loaded: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """A key's curves by trial; none if no trial has a finite number, or if a learning rate never changes."""
    curves: dict[str, np.ndarray] = {}
    for name, ours in loaded.items():
        curve = np.asarray(ours.get(key, np.empty(0)), dtype=np.float64).ravel()
        if np.isfinite(curve).any():
            curves[name] = np.where(np.isfinite(curve), curve, np.nan)
    still = all(np.nanmin(curve) == np.nanmax(curve) for curve in curves.values())
    return {} if still and key.endswith(STEADY) else curves


def _is_loss(key: str) -> bool:
    return "loss" in key


def _falls_far(curves: Mapping[str, np.ndarray]) -> bool:
    """Return whether the first curve falls and all curves together span a large ratio. Curves that fall
    towards zero are read on a log axis; curves that rise, such as an accuracy, are not."""
    finite = np.concatenate([c[np.isfinite(c)] for c in curves.values()])
    first = next(iter(curves.values()))
    falls = first[np.isfinite(first)][-1] < first[np.isfinite(first)][0]
    return bool(falls and finite.min() > 0 and finite.max() > LOG_RATIO * finite.min())


def _losses_by_log(found: Mapping[str, Mapping[str, np.ndarray]]) -> bool:
    """Return whether losses have a log axis: all of them or none, because they are compared."""
    losses = [curves for key, curves in found.items() if _is_loss(key)]
    positive = all(np.nanmin(curve) > 0 for curves in losses for curve in curves.values())
    return positive and any(_falls_far(curves) for curves in losses)


def _panel(
    key: str, curves: Mapping[str, np.ndarray], series: Mapping[str, Style], log: bool, unit: str
) -> Panel:
    data = [_line(curve, series[name], unit) for name, curve in curves.items()]
    title = key.removeprefix(PREFIX)
    y = axis_title(escaped(title + (" (log)" if log else "")))
    if log:
        finite = np.concatenate([c[np.isfinite(c)] for c in curves.values()])
        y |= log_axis(float(np.log10(finite.min())), float(np.log10(finite.max())))
    x = {
        **axis_title(unit),
        **_epochs(max(int(np.flatnonzero(np.isfinite(c))[-1]) + 1 for c in curves.values())),
    }
    return Panel(title, {"data": data, "layout": layout(x, y)}, height=290)


def _epochs(last: int) -> Json:
    """An axis from the first to the last epoch or point, with whole numbers at its ticks."""
    step = next(m * 10**e for e in range(9) for m in (1, 2, 5) if last <= MAX_TICKS * m * 10**e)
    ticks = [1, *(at for at in range(step, last + 1, step) if at > 1)]
    pad = max(0.03 * (last - 1), 0.1)
    return {"tickvals": ticks, "range": [1 - pad, last + pad]}


def _line(curve: np.ndarray, style: Style, unit: str) -> Json:
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
        "hovertemplate": f"{name}: %{{y:.4g}} after {unit} %{{x}}<extra></extra>",
    }
