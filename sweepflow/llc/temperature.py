"""The inverse temperature at which the LLC is estimated."""

from __future__ import annotations

import math


def default_nbeta(n: int) -> float:
    """n beta = n / log n, the temperature of WBIC (Watanabe 2013); n itself where log n < 1."""
    return n / max(1.0, math.log(n))
