"""Designs of points in the unit cube: scrambled Sobol and Halton, Latin hypercube, random.

The points fill the cube evenly. The first n points of a larger Sobol, Halton or random design with the same
seed are the design of n points; a Latin hypercube is different for every n. The sequences are those of
`scipy.stats.qmc`: A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14 (1998), and
"A randomized Halton algorithm in R", arXiv:1706.02808 (2017).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import scipy  # its `stats`, which takes half a second, is loaded where it is first asked for
from jaxtyping import Float

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.space.distribution import LARGEST_U, SMALLEST_U

UnitMethod = Literal["sobol", "halton", "latin_hypercube", "random"]
UNIT_METHODS: tuple[UnitMethod, ...] = get_args(UnitMethod)

MAX_SAMPLES = 2**20
MEASURED_SAMPLES = 1024
"""Most samples for which the discrepancy is measured; its cost is quadratic in the number of samples."""

SOBOL_BITS = 30
"""Bits of Sobol's points, which are multiples of 2^-30."""


def unit_points(
    method: UnitMethod, samples: int, dimensions: int, seed: int
) -> Float[np.ndarray, "samples dimensions"]:
    """The points of a design.

    Args:
        method: Name of the design.
        samples: Number of points, 1 to `MAX_SAMPLES`.
        dimensions: Number of dimensions, at least 1; for Sobol at most 21,201.
        seed: Seed of the scrambling, or of the random points.

    Returns:
        The points, as float64, strictly between 0 and 1.
    """
    check_request(samples, seed)
    match method:
        case "sobol":
            if dimensions > scipy.stats.qmc.Sobol.MAXDIM:
                raise ConfigError(
                    "Sobol's sequence does not have so many dimensions",
                    got=f"{dimensions} parameters",
                    allowed=f"at most {scipy.stats.qmc.Sobol.MAXDIM}",
                    do="take method=random",
                )
            sobol = scipy.stats.qmc.Sobol(dimensions, bits=SOBOL_BITS, rng=seed)
            # A whole power of two is drawn and cut: the same points, without SciPy's warning at each draw.
            points = sobol.random_base2((samples - 1).bit_length())[:samples]
            # Into the middle of their cells: the points' own law, and never 0.
            points = points + 0.5 ** (SOBOL_BITS + 1)
        case "halton":
            points = scipy.stats.qmc.Halton(dimensions, rng=seed).random(samples)
        case "latin_hypercube":
            points = scipy.stats.qmc.LatinHypercube(dimensions, rng=seed).random(samples)
        case "random":
            points = np.random.default_rng(seed).random((samples, dimensions))
        case _:
            raise ConfigError(
                f"there is no design {method!r}",
                got=f"method={method}",
                allowed=", ".join((*UNIT_METHODS, "grid")),
                do=did_you_mean(str(method), (*UNIT_METHODS, "grid")),
            )
    return np.clip(points, SMALLEST_U, LARGEST_U)


def check_request(samples: int, seed: int) -> None:
    """Raise ConfigError for a number of samples outside 1 to `MAX_SAMPLES`, or a negative seed."""
    if not 1 <= samples <= MAX_SAMPLES:
        raise ConfigError(
            "a design has at least one sample" if samples < 1 else "a design has too many samples",
            got=f"samples={samples}",
            allowed=f"1 to {MAX_SAMPLES:,}",
            do="ask for some, such as --samples 64" if samples < 1 else "ask for fewer",
        )
    if seed < 0:
        raise ConfigError(
            "a seed is negative", got=f"seed={seed}", allowed="0, 1, 2, ...", do="give another seed"
        )


def design_notes(method: UnitMethod, points: Float[np.ndarray, "samples dimensions"], seed: int) -> list[str]:
    """Notes on this design for people, in words; empty if there is nothing to note."""
    samples = len(points)
    if method == "latin_hypercube":
        return [
            f"a Latin hypercube does not extend: {samples} samples share none with a larger design; "
            "sobol, halton and random do"
        ]
    if method == "sobol" and samples & (samples - 1):
        return [_cost_of_no_power_of_two(points, seed)]
    return []


def _cost_of_no_power_of_two(points: Float[np.ndarray, "samples dimensions"], seed: int) -> str:
    samples, dimensions = points.shape
    above = 1 << samples.bit_length()
    below = above // 2
    text = f"{samples} samples are no power of two, where Sobol's points are most even"
    if above <= MEASURED_SAMPLES:
        # Centred discrepancy (Hickernell 1998): the distance from uniformity, less is better.
        around = unit_points("sobol", above, dimensions, seed)
        less, own, more = (scipy.stats.qmc.discrepancy(p) ** 0.5 for p in (around[:below], points, around))
        text += (
            f": their distance from uniform (centred L2 discrepancy) is {own:.2g}, against {less:.2g} for "
            f"{below} and {more:.2g} for {above}"
        )
    return f"{text}; {above} would be {above - samples} more to run, and share these"
