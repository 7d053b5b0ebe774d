"""Comparison of estimates with values that are known in closed form: the cases, and the result of each."""

from __future__ import annotations

from sweepflow.verify import crossings, deep_linear, quadratics
from sweepflow.verify.case import Case, Tolerance
from sweepflow.verify.compare import Comparison, compare
from sweepflow.verify.table import comparison_markdown, comparison_table

__all__ = [
    "Case",
    "Comparison",
    "Tolerance",
    "cases",
    "compare",
    "comparison_markdown",
    "comparison_table",
]


def cases(quick: bool = False) -> tuple[Case, ...]:
    """Return all cases that `sweepflow verify` runs: quadratics and linear regression, normal crossings, deep
    linear networks.

    Args:
        quick: Whether to return only a subset, of few and small programs.
    """
    everything = (*quadratics.cases(), *crossings.cases(), *deep_linear.cases())
    return tuple(case for case in everything if case.quick or not quick)
