"""Chart of the best value so far against the cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweepflow.report.charts.panel import Chart, Json, Panel, Style, axis_title, escaped, layout, styles
from sweepflow.report.numbers import points, short
from sweepflow.report.trials.charts.scale import metric_scale
from sweepflow.report.trials.spent import spent
from sweepflow.report.trials.view import TrialsView

MAX_STEPS = 400


def progress_chart(sweeps: Sequence[tuple[str, TrialsView]]) -> Chart | None:
    """Two panels, against trials and against seconds, with one line for each sweep; None if no sweep has a
    value."""
    known = [(name, view, spent(view)) for name, view in sweeps if len(view.by_merit)]
    if not known:
        return None
    series = styles([name for name, _ in sweeps])
    view = known[0][1]
    reached = np.concatenate([s.best[np.isfinite(s.best)] for _, _, s in known])
    scale = metric_scale(view, reached, whole=True)
    costs = (
        ("trials, in the order asked for", [(np.arange(1, len(s.best) + 1), s.best) for _, _, s in known]),
        (
            "seconds of compiling and running, over all trials",
            [(s.seconds, s.best_in_time) for _, _, s in known],
        ),
    )
    panels = []
    for title, axes in costs:
        data = [
            _line(series[name], cost, best, view.metric)
            for (name, _, _), (cost, best) in zip(known, axes, strict=True)
        ]
        x: Json = {**axis_title(title), "rangemode": "tozero", "nticks": 8}
        panels.append(Panel("", {"data": data, "layout": layout(x, scale.axis)}, height=310))
    halved = ""
    if any(view.stopped.any() for _, view, _ in known):
        halved = ", of those that halving let go furthest"
    without = [name for name, view in sweeps if not len(view.by_merit)]
    return Chart(
        heading="Best so far",
        reading=f"The best single trial so far{halved}; a marker is an improvement. {scale.better} Against"
        " trials it goes in the order asked for; against seconds in the order in which they were written, and"
        " trials that were in the store already count with what they cost when they ran.",
        panels=tuple(panels),
        legend=tuple(series[name] for name, _, _ in known) if len(sweeps) > 1 else (),
        note=f"Without any value: {', '.join(without)}." if without else "",
        columns=2,
    )


def _line(style: Style, cost: np.ndarray, best: np.ndarray, metric: str) -> Json:
    first = int(np.flatnonzero(np.isfinite(best))[0])
    steps = np.flatnonzero(np.diff(best[first:]) != 0) + first + 1
    at = np.unique(np.concatenate([[first], steps, [len(best) - 1]]))
    if len(at) > MAX_STEPS:
        at = at[np.unique(np.linspace(0, len(at) - 1, MAX_STEPS).round().astype(int))]
    better = np.isin(at, np.concatenate([[first], steps]))
    name = escaped(style.label)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": points(cost[at]),
        "y": points(best[at]),
        "line": {"color": style.colour, "width": 2, "dash": style.dash, "shape": "hv"},
        # The line's end is no improvement, and has no marker.
        "marker": {
            "color": style.colour,
            "symbol": style.symbol,
            "size": [7 if is_better else 0 for is_better in better.tolist()],
        },
        "text": [f"{name}<br>{escaped(metric)} = {short(float(v), 4)}" for v in best[at]],
        "hovertemplate": "%{text} after %{x:.4~s}<extra></extra>",
    }
