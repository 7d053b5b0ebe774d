"""Estimates of one quantity that exclude each other are flagged, both of them, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sweepflow.estimates.agreement import with_disagreements
from sweepflow.storage.record import Record


def made_up(number: int, llc: float, half: float, status: Any = "ok", **figures: Any) -> Record:
    found = {"target_id": "tgt_a", "nbeta": 50.0, "gamma": 10.0, **figures}
    ends = {"llc": llc, "llc_low": llc - half, "llc_high": llc + half}
    reasons = () if status == "ok" else ("R̂ 1.2 > 1.05",)
    return Record(
        f"est_{number}", "llc", 1, status, reasons, {"sampler": {"kind": "sgld"}}, {**ends, **found}
    )


def test_both_say_which_the_other_is() -> None:
    first, second = with_disagreements([made_up(1, 32.2, 1.2), made_up(2, 28.2, 0.6)])
    assert first.status == second.status == "flagged"
    assert first.reasons == (
        "its interval 31 to 33.4 and that of sgld (est_2) 27.6 to 28.8 exclude each other",
    )
    assert "sgld (est_1) 31 to 33.4" in second.reasons[0]
    assert first.advice == second.advice and first.advice[0]


@pytest.mark.parametrize(
    "other",
    [
        made_up(2, 28.2, 3.0),
        made_up(2, 28.2, 0.6, status="flagged"),
        made_up(2, 28.2, 0.6, gamma=1.0),
        made_up(2, 28.2, 0.6, nbeta=51.0),
        made_up(2, 28.2, 0.6, target_id="tgt_b"),
        made_up(2, 28.2, 0.6, llc_low=None),
    ],
    ids=["they meet", "not sound", "another gamma", "another nbeta", "another target", "no interval"],
)
def test_what_says_nothing_against_it(other: Record) -> None:
    records = [made_up(1, 32.2, 1.2), other]
    assert with_disagreements(records) == records


def test_many_seeds_of_one_sampler_do_not_flag_each_other_by_chance() -> None:
    """190 pairs of intervals that are right: of 200 sets, about one in 180 has a false alarm."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        records = [made_up(i, value, 1.96) for i, value in enumerate(rng.standard_normal(20))]
        alarms += any(record.status == "flagged" for record in with_disagreements(records))
    assert alarms <= 6


def test_a_disagreement_with_many_names_two() -> None:
    records = with_disagreements([made_up(i, 10.0, 0.5) for i in range(5)] + [made_up(9, 30.0, 0.5)])
    assert all(record.status == "flagged" for record in records)
    assert records[-1].reasons[0].endswith("and 3 more exclude each other")
