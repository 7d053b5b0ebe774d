"""Every bound of a tolerance has to hold, and the tables say which did not."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sweepflow.storage.record import Record
from sweepflow.verify import (
    Comparison,
    Tolerance,
    cases,
    compare,
    comparison_markdown,
    comparison_table,
)
from sweepflow.verify.table import summary

CASE = replace(cases(quick=True)[0], truth=10.0, tolerance=Tolerance(0.02, 3.0), note="why")


def record(llc: float | None, mcse: float | None, *reasons: str) -> Record:
    return Record(
        id="est_0000000000000000",
        workload="llc",
        version=1,
        status="flagged" if reasons else "ok",
        reasons=reasons,
        config={},
        figures={"llc": llc, "llc_mcse": mcse},
    )


@pytest.mark.parametrize(
    ("llc", "mcse", "within"),
    [
        (10.0, 0.1, True),
        (10.19, 0.1, True),
        (9.81, 0.1, True),
        (10.21, 0.1, False),  # over 2 %, though within 3 standard errors
        (9.79, 0.1, False),
        (10.15, 0.04, False),  # within 2 %, but 3.75 standard errors away
        (9.85, 0.04, False),
        (10.0, None, False),  # no standard error, so that bound cannot hold
        (None, None, False),
    ],
)
def test_both_bounds_have_to_hold(llc: float | None, mcse: float | None, within: bool) -> None:
    assert compare(CASE, record(llc, mcse)).within is within


def test_a_relative_bound_alone_needs_no_standard_error() -> None:
    case = replace(CASE, tolerance=Tolerance(0.05))
    assert compare(case, record(10.4, 0.001)).within
    assert compare(case, record(10.4, None)).within
    assert not compare(case, record(10.6, 1.0)).within


def test_error_is_signed_and_relative() -> None:
    comparison = compare(CASE, record(9.9, 0.05))
    assert comparison.error == pytest.approx(-0.01)
    assert comparison.standard_errors == pytest.approx(-2.0)


def test_the_estimates_own_warning_joins_the_note() -> None:
    note = compare(CASE, record(10.0, 0.1, "R̂ 1.40 > 1.05")).note
    assert note == "why; flagged: R̂ 1.40 > 1.05"


def test_tables_hold_every_comparison_and_name_the_worst() -> None:
    good, bad = compare(CASE, record(10.1, 0.1)), compare(CASE, record(11.0, 0.1))
    gone = compare(CASE, record(None, None, "every chain diverged, at step 3"))
    text = rendered([good, bad, gone])
    assert text.count("✓") == 1 and text.count("✗") == 2
    assert "10.10 ± 0.10" in text and "+10.0 %" in text and "2 %, 3 SE" in text
    markdown = comparison_markdown([good, bad, gone])
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 5
    assert len({line.count("|") for line in rows}) == 1
    assert "every chain diverged" in rows[4]
    assert "2 of 3 estimates outside" in markdown
    # One without any estimate is worse than one that is far off.
    assert summary([bad, gone]).endswith(f"{CASE.name} by {CASE.sampler} (–)")


def test_success_and_nothing_are_told_apart() -> None:
    assert "all of 1 estimate" in summary([compare(CASE, record(10.0, 0.1))])
    assert summary([]) == "nothing was compared"


def rendered(comparisons: list[Comparison]) -> str:
    console = Console(width=150, file=io.StringIO())
    with console.capture() as capture:
        console.print(comparison_table(comparisons))
    return capture.get()
