"""The inverse temperature at which the LLC is estimated."""

from __future__ import annotations

import math

from sweepflow.errors import ConfigError

FEWEST_ROWS = 3
"""Minimum number of training rows. Below e rows, log n < 1, so n / log n is above n, and infinite at n = 1:
this is not tempering, and there is no theory for it."""


def default_nbeta(n: int) -> float:
    """Return n beta = n / log n, the temperature of WBIC (Watanabe 2013).

    Args:
        n: Number of training rows.

    Raises:
        ConfigError: if n < 3, where the formula has no meaning.
    """
    if n < FEWEST_ROWS:
        raise ConfigError(
            "the default temperature nβ = n / log n means nothing for so few training rows",
            got=f"n = {n}",
            allowed=f"at least {FEWEST_ROWS} training rows",
            do="use more data, or give sampler.nbeta yourself",
        )
    return n / math.log(n)
