"""The background of the descents: the extent of a chart, and the landscape's contours in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sweepflow.report.charts.panel import Json
from sweepflow.report.numbers import points, short

GRID = 121
"""Number of points on each side of the grid on which a landscape is evaluated."""
REACH = 1.0
"""Most that a path may leave the rectangle of starts and minima, in units of its longer side. A path that
goes further does not enlarge the chart."""
MIN_SPAN = 0.5
"""Minimum length of each side of a chart; each side is also at least a quarter of the other one."""
PAD = 0.06
MAX_DECADES = 8.0
MAX_LEVELS = 13
STEPS = (0.25, 0.5, 1.0)
"""Steps between contours, in decades: the first step with at most `MAX_LEVELS` contours is used."""

# Greys, light where the loss is low: every colour of a path holds on them.
COLOUR_SCALE = [[0.0, "#fbfbfb"], [1.0, "#a6a6a6"]]

Path = Float[np.ndarray, "points 2"]


@dataclass(frozen=True)
class Extent:
    """The region that a chart shows: a closed rectangle.

    Attributes:
        low: The smallest x and y.
        high: The largest x and y.
    """

    low: Float[np.ndarray, 2]
    high: Float[np.ndarray, 2]

    @property
    def span(self) -> Float[np.ndarray, 2]:
        """Width and height of the rectangle."""
        return self.high - self.low

    def holds(self, path: Path) -> Bool[np.ndarray, " points"]:
        """Mask of the points that lie in the rectangle; points that are not finite do not."""
        with np.errstate(invalid="ignore"):
            return np.all((path >= self.low) & (path <= self.high), axis=1)


def extent_of(paths: Sequence[Path], minima: Path) -> Extent:
    """The rectangle of starts, minima, and all paths that stay within `REACH` of these.

    Args:
        paths: Paths as float64; the first point of each is finite, later points need not be.
        minima: Global minima of the landscape.
    """
    core = _around(np.concatenate([minima, *(path[:1] for path in paths)]))
    far = REACH * core.span.max()
    reach = Extent(core.low - far, core.high + far)
    near = [path for path in paths if reach.holds(path).all()]
    whole = _around(np.concatenate([core.low[None], core.high[None], *near]))
    return Extent(whole.low - PAD * whole.span, whole.high + PAD * whole.span)


def _around(places: Path) -> Extent:
    low, high = places.min(axis=0), places.max(axis=0)
    missing = np.maximum(0.0, np.maximum(MIN_SPAN, (high - low).max() / 4) - (high - low))
    return Extent(low - missing / 2, high + missing / 2)


def heights(landscape: str, places: Path) -> Float[np.ndarray, " points"]:
    """The landscape's value at each place; infinite or NaN if it is too large for a number."""
    from sweepflow.workloads.landscape import VALUES

    # NumPy's arrays: JAX would compile every operation for every shape.
    x, y = places.T
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(VALUES[landscape](x, y), dtype=np.float64)


def contours(landscape: str, extent: Extent) -> Json:
    """Filled contours of the logarithm of a landscape's value, as a Plotly trace."""
    x, y = np.linspace(extent.low, extent.high, GRID).T
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values = heights(landscape, places)
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        positive = np.ones(1)
    # The value is 0 at a minimum: the lowest half per cent of the picture is one colour.
    top = math.log10(positive.max())
    bottom = max(math.log10(np.quantile(positive, 0.005)), top - MAX_DECADES)
    step = next(step for step in STEPS if step == STEPS[-1] or top - bottom <= step * MAX_LEVELS)
    start, end = step * math.ceil(bottom / step), step * math.floor(top / step)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.log10(np.maximum(values, 10.0 ** (start - step)))
    ticks = _ticks(np.arange(start, end + step / 2, step))
    return {
        "type": "contour",
        "x": points(x),
        "y": points(y),
        "z": [points(row, 4) for row in z.reshape(GRID, GRID)],
        "autocontour": False,
        "contours": {"start": start, "end": max(end, start), "size": step, "coloring": "fill"},
        "zmin": start - step,
        "zmax": max(end, start) + step,
        "colorscale": COLOUR_SCALE,
        "line": {"color": "white", "width": 0.7},
        "colorbar": {
            "title": {"text": "loss (log)", "side": "right"},
            "thickness": 12,
            "tickvals": ticks,
            "ticktext": [short(10.0**tick, 2) for tick in ticks],
        },
        "hoverinfo": "skip",
    }


def _ticks(levels: Float[np.ndarray, " levels"]) -> list[float]:
    """The levels that have a tick: those at whole decades if these are at least three, else finer ones."""
    chosen = levels
    for step in reversed(STEPS):
        chosen = levels[levels % step == 0]
        if len(chosen) >= 3:
            break
    return chosen.tolist()
