"""Chart of the convergence of λ̂: the running estimate against its cost so far."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sweepflow.report.charts.panel import (
    COST_AXIS,
    LLC_AXIS,
    Chart,
    Json,
    Panel,
    Style,
    axis_title,
    escaped,
    faded,
    layout,
    styles,
)
from sweepflow.report.labels import Labels, target_key
from sweepflow.report.numbers import counted, points
from sweepflow.storage.record import Record

MAX_PANELS = 24
MAX_LINES = 8
MAX_POINTS = 120

Arrays = Callable[[Record], Mapping[str, np.ndarray]]


def running_chart(estimates: Sequence[Record], labels: Labels, arrays: Arrays) -> Chart:
    """One panel for each target, one line for each sampler, with a band of one standard deviation between
    chains."""
    chosen = drawn_samplers(estimates, labels)
    series = styles(chosen)
    members: dict[str, list[Record]] = defaultdict(list)
    for estimate in estimates:
        if labels.sampler[estimate.id] in series:
            members[target_key(estimate)].append(estimate)
    drawn = [
        _panel(labels.target[key], ours, labels, series, arrays)
        for key, ours in list(members.items())[:MAX_PANELS]
    ]
    panels = tuple(panel for panel in drawn if panel is not None)
    count = len(set(labels.sampler.values()))
    notes = []
    if len(chosen) < count:
        notes.append(
            f"{len(chosen)} of {counted(count, 'sampler')} are drawn, spread over those most often sound."
        )
    if len(members) > MAX_PANELS:
        notes.append(f"The first {MAX_PANELS} of {counted(len(members), 'target')} are drawn.")
    if len(panels) < len(drawn):
        notes.append(f"{counted(len(drawn) - len(panels), 'target')} without a finite chain left out.")
    return Chart(
        heading="Running λ̂ against cost",
        reading="A line is the mean of an estimate's chains, less what its step size added, its band one"
        " standard deviation between them. A line that still climbs or falls at its right end wants more"
        " draws. Chains that diverged are left out.",
        panels=panels,
        legend=tuple(series.values()),
        note=" ".join(notes),
        marks="lines",
    )


def drawn_samplers(estimates: Sequence[Record], labels: Labels) -> list[str]:
    """At most `MAX_LINES` sampler labels, chosen by the number of sound estimates, in the table's order."""
    sound = Counter(labels.sampler[e.id] for e in estimates if e.status == "ok")
    everything = list(dict.fromkeys(labels.sampler[e.id] for e in estimates))
    best: set[str] = set()
    for count in sorted({sound[label] for label in everything}, reverse=True):
        equals, left = [label for label in everything if sound[label] == count], MAX_LINES - len(best)
        # Equals that are too many are taken evenly, so that both ends of a swept setting are seen.
        best |= set(equals if len(equals) <= left else (equals[i * len(equals) // left] for i in range(left)))
    return [label for label in everything if label in best]


def _panel(
    title: str, members: Sequence[Record], labels: Labels, series: Mapping[str, Style], arrays: Arrays
) -> Panel | None:
    data: list[Json] = []
    ends: list[float] = []
    costs: list[float] = []
    lost: list[str] = []
    few = len(members) <= 4
    for estimate in members:
        line = _line(estimate, arrays(estimate))
        if line is None:
            lost.append(labels.sampler[estimate.id])
            continue
        cost, mean, spread = line
        costs += [float(cost[0]), float(cost[-1])]
        data += _traces(cost, mean, spread, series[labels.sampler[estimate.id]], 0.18 if few else 0.1)
        half = len(mean) // 2
        ends += [float(np.min((mean - spread)[half:])), float(np.max((mean + spread)[half:]))]
    if not data:
        return None
    # The first few draws swing widely; the axis is chosen for where the lines settle.
    pad = 0.25 * (max(ends) - min(ends)) or 0.1 * abs(max(ends)) or 1.0
    y = axis_title(LLC_AXIS) | {"range": points([min(ends) - pad, max(ends) + pad])}
    figure: Json = {"data": data, "layout": layout(_log_axis(costs), y)}
    return Panel(title, figure, alarm=f"not drawn: {', '.join(lost)}" if lost else "", height=300)


def _line(
    estimate: Record, arrays: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Cost, mean and standard deviation over the chains that stayed finite, at log-spaced points."""
    if "llc_running" not in arrays:
        return None
    warmup = int(estimate.figures.get("trace_warmup") or 0)
    running = np.asarray(arrays["llc_running"], dtype=np.float64)[:, warmup:]
    cost = np.asarray(arrays["full_gradients"], dtype=np.float64)[warmup:]
    running = running[np.isfinite(running).all(axis=1)]
    positive = cost > 0
    if not running.size or not positive.any():
        return None
    running, cost = running[:, positive], cost[positive]
    at = np.unique(np.geomspace(1, len(cost), MAX_POINTS).round().astype(int)) - 1
    with np.errstate(over="ignore"):
        return cost[at], running.mean(axis=0)[at], running.std(axis=0)[at]


def _traces(cost: np.ndarray, mean: np.ndarray, spread: np.ndarray, style: Style, alpha: float) -> list[Json]:
    x = points(cost)
    name = escaped(style.label)
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": x + x[::-1],
        "y": points(mean + spread) + points(mean - spread)[::-1],
        "fill": "toself",
        "fillcolor": faded(style.colour, alpha),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": points(mean),
        "line": {"color": style.colour, "width": 2, "dash": style.dash},
        "hovertemplate": f"{name}<br>λ̂ = %{{y:.4g}} after %{{x:.4~s}}<extra></extra>",
    }
    return [band, line]


def _log_axis(costs: Sequence[float]) -> Json:
    ticks = log_ticks(min(costs), max(costs))
    return {"type": "log", "tickformat": "~s", "tickvals": ticks} | axis_title(f"{COST_AXIS} (log)")


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks at decades if these are enough, else at 1, 2, 5 of each decade, else at more round numbers."""
    ticks: list[float] = []
    for mantissas in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0**d for d in decades for m in mantissas if low <= m * 10.0**d <= high]
        if len(ticks) >= 4:
            break
    return ticks
