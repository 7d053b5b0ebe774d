"""Predictions are what their numbers say, and the cheapest is chosen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.storage.record import Record
from sweepflow.trials.modes import Measured, choose, measured, predict, probe_trials


def record(**seconds: float) -> Record:
    return Record("trl_0", "train", 1, "ok", (), {}, {}, seconds)


def test_what_a_probe_measured() -> None:
    """A record's seconds are its call's, divided by its trials."""
    four = [record(compile=0.5, run=0.25)] * 4
    assert measured(four, lanes=4) == Measured(compile=2.0, run=1.0, lanes=4)
    assert measured([record(run=1.0)], lanes=1) == Measured(0.0, 1.0, 1)
    failed = Record("trl_0", "train", 1, "failed", (), {}, {}, {"run": 3.0})
    assert measured([*four, failed], lanes=4) == measured(four, lanes=4)
    assert measured([failed], 1) is None and measured([record()], 1) is None and measured([], 1) is None


def test_a_prediction() -> None:
    found = predict("batched", [10, 3, 8], Measured(compile=2.0, run=0.5, lanes=4))
    assert (found.programs, found.calls) == (3, 3 + 1 + 2)
    assert found.seconds == 3 * 2.0 + 6 * 0.5
    assert found.words() == "batched 9 s (3 x 2 s compiling + 6 x 0.5 s running)"
    assert predict("batched", [], found.measured).seconds == 0


def test_the_cheapest_is_chosen_and_says_why() -> None:
    many, few = [1] * 24, [512]
    batched, padded = Measured(2.0, 0.1, 8), Measured(2.5, 0.2, 8)
    sequential = Measured(1.5, 0.05, 1)

    def chosen(sizes: list[int]) -> tuple[str, str]:
        ways = {
            "batched": predict("batched", sizes, batched),
            "sequential": predict("sequential", sizes, sequential),
            "padded": predict("padded", [sum(sizes)], padded),
        }
        return choose(ways)

    way, why = chosen(many)
    assert way == "padded"
    assert why.startswith("mode auto: padded, the cheapest predicted of: padded 3.1 s (1 x 2.5 s compiling")
    assert why.index("padded 3.1") < why.index("sequential") < why.index("batched")
    assert chosen(few)[0] == "batched"
    assert chosen([1])[0] == "sequential"


def test_nothing_measured() -> None:
    assert choose({}) == ("batched", "mode auto: batched, as nothing could be measured")


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 16), st.booleans())
def test_no_trial_is_probed_in_two_ways(sizes: list[int], lanes: int, padded: bool) -> None:
    """Trials stand here for themselves by numbers: only their lists are looked at."""
    groups: list[list[Any]] = [[(i, j) for j in range(size)] for i, size in enumerate(sizes)]
    ways = probe_trials(groups, lanes, padded)
    probed = [trial for trials in ways.values() for trial in trials]
    assert len(probed) == len(set(probed)) <= sum(sizes)
    assert all(ways.values()), "a way without a trial is left out"
    assert len({group for group, _ in ways["batched"]}) == 1
    assert len(ways["batched"]) == min(lanes, max(sizes))
    assert ("sequential" in ways) == (sum(sizes) > len(ways["batched"]))
    assert len(ways.get("sequential", [0])) == 1
    assert "padded" not in ways or (padded and len(ways["padded"]) <= lanes)


times = st.floats(0, 1e3)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=10), times, times, st.integers(1, 64))
def test_every_trial_has_a_lane(sizes: list[int], compile: float, run: float, lanes: int) -> None:
    found = predict("batched", sizes, Measured(compile, run, lanes))
    assert sum(sizes) <= found.calls * lanes < sum(sizes) + len(sizes) * lanes
    assert found.seconds == pytest.approx(found.programs * compile + found.calls * run)
