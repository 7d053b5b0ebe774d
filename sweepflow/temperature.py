"""The inverse temperature at which the LLC is estimated."""

from __future__ import annotations

import math

from sweepflow.errors import ConfigError

FEWEST_ROWS = 3
"""Below e rows log n < 1, so n / log n is above n, and infinite at n = 1: no tempering, and no theory."""


def default_nbeta(n: int) -> float:
    """n beta = n / log n, the temperature of WBIC (Watanabe 2013).

    Args:
        n: Training rows.

    Raises:
        ConfigError: where n < 3: the formula means nothing there.
    """
    if n < FEWEST_ROWS:
        raise ConfigError(
            "the default temperature nβ = n / log n means nothing for so few training rows",
            got=f"n = {n}",
            allowed=f"at least {FEWEST_ROWS} training rows",
            do="use more data, or give sampler.nbeta yourself",
        )
    return n / math.log(n)
