"""A full grid over a space: every value of discrete parameters, evenly spaced quantiles of the others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sweepflow.errors import ConfigError
from sweepflow.space.distribution import Distribution


def grid_columns(distributions: Mapping[str, Distribution], samples: int) -> tuple[dict[str, list[Any]], str]:
    """The grid with the most quantiles that has at most `samples` points.

    The grid has the quantiles (i + 1/2) / k of each continuous distribution, with the same k for all of them.

    Args:
        distributions: The distributions by name; the last one varies fastest.
        samples: Maximum number of points.

    Returns:
        The values by name, all of one length, in the grid's order; and a note with the shape of the grid.
    """
    levels = {name: distribution.levels() for name, distribution in distributions.items()}
    sizes = {name: len(values) for name, values in levels.items() if values is not None}
    continuous = [name for name, values in levels.items() if values is None]
    discrete = math.prod(sizes.values())
    if discrete > samples:
        shape = " x ".join(f"{name} ({size})" for name, size in sizes.items() if size > 1)
        raise ConfigError(
            "the grid has more points than there are samples",
            got=f"{shape} = {discrete} points, samples={samples}",
            allowed="every value of every discrete parameter",
            do=f"ask for --samples {discrete}, quantize or drop a parameter, or take method=sobol",
        )
    k = _largest_power(samples // discrete, len(continuous))
    u = (np.arange(k) + 0.5) / k
    values = {
        name: distribution.ppf(u) if levels[name] is None else list(levels[name] or ())
        for name, distribution in distributions.items()
    }
    points = list(itertools.product(*values.values()))
    columns = {name: list(column) for name, column in zip(values, zip(*points, strict=True), strict=True)}
    sides = " x ".join(str(len(side)) for side in values.values())
    note = f"a grid of {sides} = {len(points)} points, of the {samples} asked for; it does not extend"
    return columns, note


def _largest_power(most: int, exponent: int) -> int:
    """The largest k with k^exponent <= most; 1 if the exponent is 0."""
    if exponent == 0:
        return 1
    k = int(most ** (1 / exponent))
    while (k + 1) ** exponent <= most:  # the root may be one rounding short, or long
        k += 1
    while k**exponent > most:
        k -= 1
    return k
