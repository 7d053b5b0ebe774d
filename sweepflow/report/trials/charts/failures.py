"""Chart of the lost trials in the space: the share that diverged or failed, along each key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sweepflow.report.charts.panel import COLOURS, INK, Chart, Json, Panel, Style, axis_title, layout
from sweepflow.report.numbers import counted, points
from sweepflow.report.trials.charts.response import x_axis
from sweepflow.report.trials.dimension import Dimension
from sweepflow.report.trials.view import TrialsView

MAX_PANELS = 9
BINS = 8
DIVERGED = Style("diverged (hatched)", COLOURS[1], "square", "solid")
FAILED = Style("failed (plain)", COLOURS[6], "square", "solid")
WAYS = (("diverged", DIVERGED, "/"), ("failed", FAILED, ""))


def failures_chart(view: TrialsView, axes: Sequence[Dimension]) -> Chart | None:
    """One panel for each key, ordered by how much the key's intervals differ; None if no trial was lost."""
    if not len(view.lost) or not axes:
        return None
    lost = {way: np.array([r.status == way for r in view.records]) for way, _, _ in WAYS}
    whole = lost["diverged"] | lost["failed"]
    bins = {axis.key: _bins(axis) for axis in axes}
    ordered = sorted(axes, key=lambda axis: -_contrast(bins[axis.key], axis, whole))
    shown = ordered[:MAX_PANELS]
    top = max(_top(bins[axis.key], axis, whole) for axis in shown)
    panels = tuple(_panel(axis, bins[axis.key], lost, min(1.12 * top, 1.1)) for axis in shown)
    total = int(whole.sum())
    note = f"The {MAX_PANELS} that differ most of {len(axes)} keys." if len(axes) > MAX_PANELS else ""
    return Chart(
        heading="Where trials were lost",
        reading=f"{total:,} of {counted(len(view.records), 'trial')} diverged or failed. A bar is their"
        " share in a stretch of the key, with how many of how many over it, or the share where those are"
        " thousands; keys come in the order of how much their stretches differ.",
        panels=panels,
        legend=tuple(style for way, style, _ in WAYS if lost[way].any()),
        note=note,
        columns=3 if len(panels) > 4 else 2,
        marks="markers",
    )


def _bins(axis: Dimension) -> list[tuple[float, float]]:
    """Intervals of an axis: one for each position if there are few, else equal intervals along the number
    line."""
    places = np.unique(axis.at)
    if len(places) <= 2 * BINS or not axis.continuous:
        gap = float(np.diff(places).min()) if len(places) > 1 else 1.0
        return [(float(p) - 0.4 * gap, float(p) + 0.4 * gap) for p in places]
    line = axis.at[axis.numbers]
    edges = np.linspace(line.min(), line.max(), BINS + 1)
    width = float(edges[1] - edges[0])
    edges[-1] += 1e-9 * width
    before = [(float(p) - 0.45 * width, float(p) + 0.45 * width) for p in np.unique(axis.at[~axis.numbers])]
    return before + [(float(a), float(b)) for a, b in pairwise(edges)]


def _inside(axis: Dimension, stretch: tuple[float, float]) -> np.ndarray:
    return (axis.at >= stretch[0]) & (axis.at < stretch[1])


def _contrast(bins: Sequence[tuple[float, float]], axis: Dimension, lost: np.ndarray) -> float:
    """Variance of the lost share between intervals, each interval weighted by its trials."""
    overall = float(lost.mean())
    inside = [_inside(axis, stretch) for stretch in bins]
    return sum(float(i.sum()) * (float(lost[i].mean()) - overall) ** 2 for i in inside if i.any())


def _top(bins: Sequence[tuple[float, float]], axis: Dimension, lost: np.ndarray) -> float:
    return max(float(lost[i].mean()) for stretch in bins if (i := _inside(axis, stretch)).any())


def _panel(
    axis: Dimension, bins: Sequence[tuple[float, float]], lost: dict[str, np.ndarray], top: float
) -> Panel:
    inside = [_inside(axis, stretch) for stretch in bins]
    counts = [int(i.sum()) for i in inside]
    data: list[Json] = []
    shares = np.zeros(len(bins))
    for way, style, hatch in WAYS:
        if not lost[way].any():
            continue
        ours = [int(lost[way][i].sum()) for i in inside]
        share = np.array([n / count if count else 0.0 for n, count in zip(ours, counts, strict=True)])
        shares += share
        data.append(
            {
                "type": "bar",
                "name": way,
                "x": points(((a + b) / 2 for a, b in bins), 7),
                "width": points((0.94 * (b - a) for a, b in bins), 7),
                "y": points(share),
                "marker": {
                    "color": style.colour,
                    "line": {"color": INK, "width": 0.8},
                    "pattern": {"shape": hatch, "fillmode": "overlay", "fgcolor": "white", "size": 7},
                },
                "text": [f"{n:,} of {count:,} {way}" for n, count in zip(ours, counts, strict=True)],
                "textposition": "none",
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    gone = [int(sum(lost[way][i].sum() for way, _, _ in WAYS)) for i in inside]
    notes = [
        {
            "x": float(f"{(a + b) / 2:.7g}"),
            "y": float(f"{share:.4g}"),
            "yshift": 8,
            # Numbers of thousands are wider than the bars.
            "text": f"{n}/{count}" if max(counts) < 1000 else f"{share:.0%}",
            "showarrow": False,
            "font": {"size": 10 if len(bins) <= 8 else 8},
        }
        for (a, b), share, n, count in zip(bins, shares, gone, counts, strict=True)
        if n and len(bins) <= 10
    ]
    y = axis_title("share lost") | {"tickformat": ".0%", "range": [0, top], "nticks": 5}
    x = x_axis(axis) | {"range": points([min(axis.low, bins[0][0]), max(axis.high, bins[-1][1])], 7)}
    return Panel(
        axis.key,
        {"data": data, "layout": layout(x, y, barmode="stack", annotations=notes)},
        height=260,
    )
