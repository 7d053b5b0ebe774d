"""Chart of the optimizers' paths: descents of the workload `landscape` over its contours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from jaxtyping import Int

from sweepflow.report.charts.panel import (
    INK,
    Chart,
    Json,
    Panel,
    Style,
    axis_title,
    escaped,
    layout,
    styles,
)
from sweepflow.report.charts.running import Arrays
from sweepflow.report.numbers import counted, points, setting, short
from sweepflow.report.trials.charts.palette import told
from sweepflow.report.trials.charts.terrain import Extent, Path, contours, extent_of, heights
from sweepflow.report.trials.configurations import best_first
from sweepflow.report.trials.view import TrialsView

WORKLOAD = "landscape"
MAX_PATHS = 40
"""Most paths in a panel, divided evenly among its optimizers."""
MAX_POINTS = 300
CELLS = 500
"""Cells on each side of a panel; two points of a path in the same cell cannot be distinguished."""
TOLD = frozenset({"optimizer", "landscape", "keep_path"})
"""Settings that a panel or a line already shows."""
START = Style("start", INK, "circle-open", "none")
MINIMUM = Style("global minimum", INK, "star", "none")


@dataclass(frozen=True)
class Descent:
    """One path that is drawn.

    Attributes:
        place: Index of the trial in the view.
        optimizer: Name of the optimizer.
        path: Points of the path as float64; the first point is finite.
    """

    place: int
    optimizer: str
    path: Path


def descents_chart(view: TrialsView, arrays: Arrays) -> Chart | None:
    """One panel for each landscape; None if no trial is of the workload `landscape`.

    Args:
        view: The sweep.
        arrays: Function that loads a trial's arrays; called for at most `MAX_PATHS` trials in each panel.
    """
    found = _kept(view)
    if found is None:
        return None
    if not found:
        return Chart(
            heading="Descents",
            reading="No trial kept its path: with keep_path=true they are drawn here, over the landscape's"
            " contours.",
            panels=(),
        )
    series = _series()
    drawn = {landscape: _chosen(ours, view, arrays) for landscape, ours in found.items()}
    panels = tuple(_panel(view, name, ours, series) for name, ours in drawn.items() if ours)
    optimizers = {one.optimizer for ours in drawn.values() for one in ours}
    reading = (
        "Filled contours of the loss, light where it is low. A line is the path of one trial from its start"
        " (ring) to the mark of its optimizer; one that leaves the picture, or the finite numbers, is drawn"
        " up to there and has no mark. Trials that diverged are thin. Point at a line to read what it is of."
    )
    if {"adam", "adamw"} <= optimizers:
        reading += " adamw is dashed: without weight decay it is adam, and lies on it."
    return Chart(
        heading="Descents",
        reading=reading,
        panels=panels,
        legend=(*(style for name, style in series.items() if name in optimizers), START, MINIMUM),
        note=_note(view, found, drawn),
        columns=1 if len(panels) == 1 else 2,
    )


def _kept(view: TrialsView) -> dict[str, dict[str, list[int]]] | None:
    """Indices of the trials that kept a path, by landscape and optimizer, the best first.

    None if no trial is of the workload. Another workload may have the same name, but not the same settings.
    """
    ours = {
        place: record
        for place, record in enumerate(view.records)
        if record.workload == WORKLOAD and {"landscape", "optimizer", "keep_path"} <= record.config.keys()
    }
    if not ours:
        return None
    kept = {place: r.config for place, r in ours.items() if r.config["keep_path"] and r.status != "failed"}
    found: dict[str, dict[str, list[int]]] = {c["landscape"]: defaultdict(list) for c in kept.values()}
    for place in [*best_first(view).tolist(), *view.lost.tolist()]:
        if place in kept:
            found[kept[place]["landscape"]][kept[place]["optimizer"]].append(place)
    return found


def _series() -> dict[str, Style]:
    """A style for each optimizer, the same in every report."""
    from sweepflow.workloads.optimizer import OptimizerConfig

    names = get_args(OptimizerConfig.model_fields["optimizer"].annotation)
    dashes = {"adamw": "dash"}
    return {name: replace(style, dash=dashes.get(name, "solid")) for name, style in styles(names).items()}


def _chosen(found: Mapping[str, Sequence[int]], view: TrialsView, arrays: Arrays) -> list[Descent]:
    """The best paths of each optimizer that have a finite first point, in the order of the optimizers'
    styles."""
    share = max(1, MAX_PATHS // len(found))
    chosen = []
    for optimizer in sorted(found, key=list(_series()).index):
        for place in found[optimizer][:share]:
            path = np.asarray(arrays(view.records[place]).get("path", ()), dtype=np.float64)
            if path.ndim == 2 and len(path) and np.isfinite(path[0]).all():
                chosen.append(Descent(place, optimizer, path))
    return chosen


def _panel(
    view: TrialsView, landscape: str, descents: Sequence[Descent], series: Mapping[str, Style]
) -> Panel:
    from sweepflow.workloads.landscape import MINIMA

    minima = MINIMA[landscape]
    extent = extent_of([one.path for one in descents], minima)
    # Those that diverged under the others.
    descents = sorted(descents, key=lambda one: not _diverged(view, one))
    steps = [_seen(one.path, extent) for one in descents]
    paths = [one.path[at] for one, at in zip(descents, steps, strict=True)]
    losses = np.split(
        heights(landscape, np.concatenate([*paths, minima])), np.cumsum([len(p) for p in paths])
    )
    # Minima under the paths: what ends there is seen.
    sound = [path for path, one in zip(paths, descents, strict=True) if not _diverged(view, one)]
    data = [contours(landscape, extent), _halo(sound), _marks(minima, MINIMUM, 17, MINIMUM.label)]
    for i, one in enumerate(descents):
        data.append(_line(view, one, steps[i], losses[i], series[one.optimizer]))
    starts = list(dict.fromkeys(tuple(one.path[0].tolist()) for one in descents))
    data.append(_marks(np.reshape(starts, (-1, 2)), START, 8, START.label))
    for optimizer in dict.fromkeys(one.optimizer for one in descents):
        ours = [one.path for one in descents if one.optimizer == optimizer]
        ends = [path[-1] for path in ours if extent.holds(path).all()]
        data.append(_marks(np.reshape(ends, (-1, 2)), series[optimizer], 9, f"end of {optimizer}"))
    ranges = np.stack([extent.low, extent.high], axis=1)
    x, y = (
        axis_title(name) | {"range": points(ends), "showgrid": False}
        for name, ends in zip("xy", ranges, strict=True)
    )
    figure: Json = {"data": data, "layout": layout(x, y, hovermode="closest")}
    return Panel(landscape, figure, alarm=_outside(view, descents, extent), height=460)


def _seen(path: Path, extent: Extent) -> Int[np.ndarray, " kept"]:
    """Indices of the points of a path that are drawn: up to the first point outside, only visible moves."""
    outside = np.flatnonzero(~extent.holds(path))
    path = path[: outside[0] + 1] if len(outside) else path
    # What has left the finite numbers has no place.
    path = path if np.isfinite(path[-1]).all() else path[:-1]
    with np.errstate(over="ignore"):
        cells = np.floor(path / (extent.span / CELLS))
    moved = np.flatnonzero((cells[1:] != cells[:-1]).any(axis=1)) + 1
    kept = np.unique([0, *moved.tolist(), len(path) - 1])
    if len(kept) > MAX_POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_POINTS).round().astype(int)]
    return kept


def _diverged(view: TrialsView, one: Descent) -> bool:
    return view.records[one.place].status == "diverged"


def _halo(paths: Sequence[Path]) -> Json:
    """White outline below all paths: one line with gaps."""
    gap = np.full((1, 2), np.nan)
    x, y = np.concatenate([gap, *(part for path in paths for part in (path, gap))]).T
    return {
        "type": "scatter",
        "mode": "lines",
        "showlegend": False,
        "x": points(x),
        "y": points(y),
        "line": {"color": "white", "width": 4},
        "hoverinfo": "skip",
    }


def _line(
    view: TrialsView, one: Descent, steps: Int[np.ndarray, " kept"], losses: np.ndarray, style: Style
) -> Json:
    settings = view.settings[one.place]
    names = dict.fromkeys(["learning_rate", *view.varying])
    words = [f"{key}={setting(settings[key])}" for key in names if key in settings and key not in TOLD]
    text = "<br>".join([one.optimizer, escaped(" ".join(words)), _end(view, one.place)])
    x, y = one.path[steps].T
    return {
        "type": "scatter",
        "mode": "lines",
        "name": one.optimizer,
        "legendgroup": one.optimizer,
        "showlegend": False,
        "x": points(x),
        "y": points(y),
        "customdata": [[step, short(loss, 3)] for step, loss in zip(steps.tolist(), losses, strict=True)],
        "line": {"color": style.colour, "width": 1 if _diverged(view, one) else 2, "dash": style.dash},
        "hovertemplate": f"{text}<br>step %{{customdata[0]}}: loss %{{customdata[1]}}"
        " at %{x:.4g}, %{y:.4g}<extra></extra>",
    }


def _end(view: TrialsView, place: int) -> str:
    return "<br>".join(escaped(part) for part in told(view, place).split("<br>"))


def _marks(places: Path, style: Style, size: int, name: str) -> Json:
    ring = style.symbol == "circle-open"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "legendgroup": style.label,
        "showlegend": False,
        "x": points(places[:, 0]),
        "y": points(places[:, 1]),
        "marker": {
            "color": "white" if ring else style.colour,
            "symbol": style.symbol.removesuffix("-open"),
            "size": size,
            "line": {"color": INK if ring else "white", "width": 2 if ring else 1},
        },
        "hovertemplate": f"{name} at %{{x:.4g}}, %{{y:.4g}}<extra></extra>",
    }


def _outside(view: TrialsView, descents: Sequence[Descent], extent: Extent) -> str:
    """The optimizers whose paths leave the chart, in words; empty if no path does."""
    left = Counter(one.optimizer for one in descents if not extent.holds(one.path).all())
    lost = sum(_diverged(view, one) for one in descents)
    if not left:
        return ""
    names = ", ".join(f"{count} of {name}" for name, count in left.items())
    diverged = f"; {lost} diverged" if lost else ""
    leave = "leaves" if left.total() == 1 else "leave"
    return f"{left.total()} of {counted(len(descents), 'path')} {leave} the picture: {names}{diverged}"


def _note(
    view: TrialsView, found: Mapping[str, Mapping[str, Sequence[int]]], drawn: Mapping[str, Sequence[Descent]]
) -> str:
    notes = []
    asked = sum(len(places) for ours in found.values() for places in ours.values())
    shown = sum(map(len, drawn.values()))
    wanted = sum(
        min(len(places), max(1, MAX_PATHS // len(ours)))
        for ours in found.values()
        for places in ours.values()
    )
    if wanted < asked:
        notes.append(f"{wanted:,} of {asked:,} paths: the best of each optimizer by {view.metric}.")
    if shown < wanted:
        notes.append(f"{counted(wanted - shown, 'trial')} without a finite first point.")
    without = sum(not record.config.get("keep_path") for record in view.records)
    if without:
        notes.append(f"{counted(without, 'trial')} without a path (keep_path=true keeps it).")
    return " ".join(notes)
