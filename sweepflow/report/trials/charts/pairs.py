"""The two number keys that matter most against each other, coloured by the metric."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from sweepflow.report.charts.panel import INK, MUTED, Chart, Json, Panel, Style, axis_title, escaped, layout
from sweepflow.report.numbers import counted, points, short
from sweepflow.report.trials.charts.palette import BEST, LOST, colour_bar, evenly, spread_over
from sweepflow.report.trials.charts.response import x_axis
from sweepflow.report.trials.charts.scale import metric_scale
from sweepflow.report.trials.dimension import Dimension
from sweepflow.report.trials.view import TrialsView

MAX_POINTS = 1000
MAX_GRID = 12
"""Distinct numbers up to which a cell is a number and not a stretch of the axis."""
TRIAL = Style("a trial", MUTED, "circle", "solid")
MIN_TRIALS = 8
MIN_SHARE = 0.6
"""A key is preferred where at least this share of the trials has a number for it."""


def pairs_chart(view: TrialsView, axes: Sequence[Dimension]) -> Chart | None:
    """A heat map of the metric's median in cells, with the trials over it; None without two number keys.

    Args:
        view: The sweep.
        axes: The keys' axes, the most important first.
    """
    lines = [axis for axis in axes if axis.continuous and len(np.unique(axis.at[axis.numbers])) > 2]
    if len(lines) < 2 or len(view.by_merit) < MIN_TRIALS:
        return None
    # A key that only some configurations have would leave the others out of the map.
    most = [axis for axis in lines if axis.numbers.mean() >= MIN_SHARE]
    x, y = most[:2] if len(most) > 1 else lines[:2]
    on_both = x.numbers & y.numbers
    valued = view.by_merit[on_both[view.by_merit]]
    lost = view.lost[on_both[view.lost]]
    if len(valued) < MIN_TRIALS:
        return None
    cells_x, cells_y = _edges(x, len(valued)), _edges(y, len(valued))
    # On a grid all trials of a cell stand in its middle: the cell says its number there instead.
    grid = all(len(np.unique(axis.at[axis.numbers])) <= MAX_GRID for axis in (x, y))
    data = [_map(view, x, y, cells_x, cells_y, valued, lost, grid)]
    drawn, crossed = spread_over(valued, MAX_POINTS, MAX_POINTS // 4), evenly(lost, MAX_POINTS // 3)
    if not grid:
        mark = {"color": "white", "size": 5, "line": {"color": INK, "width": 1}}
        data.append(_marks(view, x, y, drawn[1:], mark))
    if len(crossed) and not grid:
        # White round the ink: it must be seen on dark cells and on empty ones.
        mark = {"symbol": "x", "size": 8, "color": INK, "line": {"color": "white", "width": 1}}
        data.append(_marks(view, x, y, crossed, mark))
    star = {"symbol": "star", "size": 15, "color": BEST.colour, "line": {"color": "white", "width": 1}}
    if not grid:
        data.append(_marks(view, x, y, drawn[:1], star))
    vertical = {k: v for k, v in x_axis(y).items() if k != "tickangle"}
    figure: Json = {
        "data": data,
        "layout": layout(
            x_axis(x) | {"range": points([cells_x[0], cells_x[-1]], 7), "showgrid": False},
            vertical
            | {"range": points([cells_y[0], cells_y[-1]], 7), "showgrid": False}
            | axis_title(escaped(y.title)),
            plot_bgcolor="#efefef",
        ),
    }
    left_out = len(view.records) - int(on_both.sum())
    notes = (
        [f"{counted(left_out, 'trial')} without a number for one of the two left out."] if left_out else []
    )
    if not grid and len(drawn) < len(valued):
        notes.append(f"{len(drawn):,} of {len(valued):,} trials with a value are marked; cells count all.")
    return Chart(
        heading=f"{x.name} and {y.name}",
        reading="A cell's colour is the median of the trials in it (dark is good); grey cells hold none with"
        " a value"
        + (", × is one that lost a trial" if grid and len(crossed) else "")
        + ". The two keys are the most important of those that are numbers.",
        panels=(Panel("", figure, height=430),),
        legend=() if grid else (TRIAL, BEST, LOST) if len(crossed) else (TRIAL, BEST),
        note=" ".join(notes),
        columns=1,
        marks="markers",
    )


def _edges(axis: Dimension, trials: int) -> np.ndarray:
    """Cell borders: half-way between the numbers of a grid, else equal stretches, about 5 trials a cell."""
    places = np.unique(axis.at[axis.numbers])
    if len(places) <= MAX_GRID:
        middles = (places[1:] + places[:-1]) / 2
        return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]])
    count = int(np.clip(math.sqrt(trials / 5), 3, MAX_GRID))
    pad = 1e-6 * (places[-1] - places[0])
    return np.linspace(places[0] - pad, places[-1] + pad, count + 1)


def _map(
    view: TrialsView,
    x: Dimension,
    y: Dimension,
    cells_x: np.ndarray,
    cells_y: np.ndarray,
    valued: np.ndarray,
    lost: np.ndarray,
    grid: bool,
) -> Json:
    members: dict[tuple[int, int], list[float]] = defaultdict(list)
    gone: dict[tuple[int, int], int] = defaultdict(int)
    for place in valued.tolist():
        members[_cell(x, y, cells_x, cells_y, place)].append(float(view.values[place]))
    for place in lost.tolist():
        gone[_cell(x, y, cells_x, cells_y, place)] += 1
    columns, rows = len(cells_x) - 1, len(cells_y) - 1
    medians = np.full((rows, columns), np.nan)
    text = [["" for _ in range(columns)] for _ in range(rows)]
    told = [["no trial" for _ in range(columns)] for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            found, without = members[i, j], gone[i, j]
            if found:
                medians[i, j] = np.median(found)
                text[i][j] = short(float(medians[i, j])) + (" ×" if without else "")
                told[i][j] = f"median {view.metric} = {short(float(medians[i, j]))}, n = {len(found)}"
            if without:
                text[i][j] = text[i][j] or "×"
                told[i][j] = f"{told[i][j] if found else 'no value'}; {without} diverged or failed"
    scale = metric_scale(view, medians)
    colours = colour_bar(scale)
    return {
        "type": "heatmap",
        "x": points(cells_x, 7),
        "y": points(cells_y, 7),
        "z": [points(row) for row in scale.at(medians)],
        "customdata": [[escaped(t) for t in row] for row in told],
        "text": text,
        "texttemplate": "%{text}" if grid else "",
        "textfont": {"size": 11},
        "colorscale": colours["colorscale"],
        "zmin": colours["cmin"],
        "zmax": colours["cmax"],
        "colorbar": colours["colorbar"],
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _cell(
    x: Dimension, y: Dimension, cells_x: np.ndarray, cells_y: np.ndarray, place: int
) -> tuple[int, int]:
    row = np.clip(np.searchsorted(cells_y, y.at[place]) - 1, 0, len(cells_y) - 2)
    column = np.clip(np.searchsorted(cells_x, x.at[place]) - 1, 0, len(cells_x) - 2)
    return int(row), int(column)


def _marks(view: TrialsView, x: Dimension, y: Dimension, places: np.ndarray, marker: Json) -> Json:
    texts = [
        f"{x.name} = {x.texts[i]}, {y.name} = {y.texts[i]}\n{short(float(view.values[i]), 4)}"
        f" {view.records[i].status}\n{view.records[i].id}"
        for i in places.tolist()
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": points(x.at[places]),
        "y": points(y.at[places]),
        "marker": marker,
        "text": [escaped(text).replace("\n", "<br>") for text in texts],
        "hovertemplate": "%{text}<extra></extra>",
    }
