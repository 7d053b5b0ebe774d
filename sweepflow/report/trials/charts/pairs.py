"""Chart of the two most important numeric keys against each other, coloured by the metric."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from sweepflow.report.charts.panel import (
    INK,
    MUTED,
    Chart,
    Json,
    Panel,
    Style,
    axis_title,
    escaped,
    layout,
)
from sweepflow.report.numbers import counted, points, short
from sweepflow.report.trials.charts.palette import BEST, LOST, colour_bar, evenly, spread_over, toned
from sweepflow.report.trials.charts.response import x_axis
from sweepflow.report.trials.charts.scale import metric_scale
from sweepflow.report.trials.configurations import best_first, best_in_words
from sweepflow.report.trials.dimension import Dimension
from sweepflow.report.trials.view import TrialsView

MAX_POINTS = 1000
MAX_GRID = 12
"""Most distinct numbers for which each cell is one number, and not an interval of the axis."""
TRIAL = Style("a trial", MUTED, "circle", "solid")
HATCH = "#cfcfcf"
MIN_TRIALS = 8
MIN_SHARE = 0.6
"""Share of the trials that must have a number for a key, so that the key is preferred."""


def pairs_chart(view: TrialsView, axes: Sequence[Dimension], important: bool = False) -> Chart | None:
    """A heat map of the metric's median in cells, with the trials over it; None without two numeric keys.

    Args:
        view: The sweep.
        axes: The keys' axes, the most important first.
        important: Whether the axes are ordered by importance; otherwise they are ordered by rank correlation.
    """
    lines = [axis for axis in axes if axis.continuous and len(np.unique(axis.at[axis.numbers])) > 2]
    if len(lines) < 2 or len(view.by_merit) < MIN_TRIALS:
        return None
    # A key that only some configurations have would leave the others out of the map.
    most = [axis for axis in lines if axis.numbers.mean() >= MIN_SHARE]
    x, y = most[:2] if len(most) > 1 else lines[:2]
    on_both = x.numbers & y.numbers
    order = best_first(view)
    valued = order[on_both[order]]
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
        data.append(_marks(view, x, y, drawn[int(on_both[order[0]]) :], mark))
    if len(crossed) and not grid:
        # White round the ink: it must be seen on dark cells and on empty ones.
        mark = {"symbol": "x", "size": 8, "color": INK, "line": {"color": "white", "width": 1}}
        data.append(_marks(view, x, y, crossed, mark))
    star = {"symbol": "star", "size": 15, "color": BEST.colour, "line": {"color": "white", "width": 1}}
    starred = not grid and bool(on_both[order[0]])
    if starred:
        data.append(_marks(view, x, y, drawn[:1], star))
    vertical = {k: v for k, v in x_axis(y).items() if k != "tickangle"}
    figure: Json = {
        "data": data,
        "layout": layout(
            x_axis(x) | {"range": points([cells_x[0], cells_x[-1]], 7), "showgrid": False},
            vertical
            | {"range": points([cells_y[0], cells_y[-1]], 7), "showgrid": False}
            | axis_title(escaped(y.title)),
            shapes=_hatched(cells_x, cells_y, data[0]["z"]),
        ),
    }
    legend = [TRIAL] + ([BEST] if starred else []) + ([LOST] if len(crossed) else [])
    left_out = len(view.records) - int(on_both.sum())
    notes = (
        [f"{counted(left_out, 'trial')} without a number for one of the two left out."] if left_out else []
    )
    if not grid and len(drawn) < len(valued):
        notes.append(f"{len(drawn):,} of {len(valued):,} trials with a value are marked; cells count all.")
    return Chart(
        heading=f"{x.name} and {y.name}",
        reading="A cell's colour is the median of the trials in it (dark is good); hatched cells hold none"
        " with a value"
        + (", × is one that lost a trial" if grid and len(crossed) else "")
        + f". {_chosen(view, important)}"
        + (f" {best_in_words(view)}" if starred and best_in_words(view) else ""),
        panels=(Panel("", figure, height=430),),
        legend=() if grid else tuple(legend),
        note=" ".join(notes),
        columns=1,
        marks="markers",
    )


def _edges(axis: Dimension, trials: int) -> np.ndarray:
    """Cell borders: half-way between the numbers of a grid, else equal intervals with about 5 trials per
    cell."""
    places = np.unique(axis.at[axis.numbers])
    if len(places) <= MAX_GRID:
        middles = (places[1:] + places[:-1]) / 2
        return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]])
    count = int(np.clip(math.sqrt(trials / 5), 3, MAX_GRID))
    # Room for the markers of what stands at an end.
    pad = 0.03 * (places[-1] - places[0])
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
        "z": [points(row) for row in toned(scale, medians)],
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


def _chosen(view: TrialsView, important: bool) -> str:
    if important:
        return "The two keys are the most important of those that are numbers."
    return f"The two keys are, of those that are numbers, the first by rank correlation with {view.metric}."


def _hatched(cells_x: np.ndarray, cells_y: np.ndarray, z: Sequence[Sequence[float | None]]) -> list[Json]:
    """Hatching of the cells without a value: thin slanted lines, as one shape below the marks."""
    strokes = []
    for i, row in enumerate(z):
        for j, value in enumerate(row):
            if value is None:
                (left, right), (low, high) = cells_x[j : j + 2], cells_y[i : i + 2]
                strokes.append(f"M{left:.7g},{low:.7g}L{right:.7g},{low:.7g}L{right:.7g},{high:.7g}")
                strokes.append(f"L{left:.7g},{high:.7g}Z")
                for start in (-2 / 3, -1 / 3, 0.0, 1 / 3, 2 / 3):
                    # From the lower or left border to the upper or right one.
                    a, b = max(start, 0.0), min(1.0 + start, 1.0)
                    ends = [
                        (left + share * (right - left), low + (share - start) * (high - low))
                        for share in (a, b)
                    ]
                    strokes.append(
                        "".join(f"{p}{u:.7g},{v:.7g}" for p, (u, v) in zip("ML", ends, strict=True))
                    )
    if not strokes:
        return []
    line = {"color": HATCH, "width": 1}
    return [{"type": "path", "path": "".join(strokes), "line": line, "layer": "below"}]


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
        "cliponaxis": False,
        "text": [escaped(text).replace("\n", "<br>") for text in texts],
        "hovertemplate": "%{text}<extra></extra>",
    }
