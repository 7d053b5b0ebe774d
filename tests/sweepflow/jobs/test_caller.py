"""What is said of jobs is said of the user's line that has asked for them."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from sweepflow.jobs.caller import caller
from sweepflow.jobs.plan import JobPlan


def line() -> int:
    return sys._getframe(1).f_lineno


def test_a_warning_points_at_the_line_that_made_the_plan() -> None:
    plan, here = JobPlan({"x": 1}, len, [], "store"), line()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(2):
            plan.caller.warn("it is odd", UserWarning)
    assert [(str(one.message), one.filename, one.lineno) for one in said] == [("it is odd", __file__, here)]


def test_lines_of_the_packages_between_are_passed_over() -> None:
    outer: dict[str, Any] = {"__name__": "hydra.core", "caller": caller}
    exec("def ask():\n    return caller()", outer)
    inner: dict[str, Any] = {"__name__": "sweepflow.flows.jobs", "ask": outer["ask"]}
    exec("def ask_again():\n    return ask()", inner)
    found, here = inner["ask_again"](), line()
    assert (found.file, found.line, found.module) == (__file__, here, __name__)
