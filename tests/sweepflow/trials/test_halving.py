"""Rungs and survivors of successive halving."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import ConfigError
from sweepflow.schema.data import BundledData
from sweepflow.storage.record import Record
from sweepflow.trials.halving import call_size, repeats, rungs, survivors
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.workload import TRAIN


@given(st.integers(1, 2000), st.integers(2, 100))
def test_rungs_rise_to_all_epochs(epochs: int, eta: int) -> None:
    stops = rungs(epochs, eta)
    assert 1 <= len(stops) <= 3
    assert stops[-1] == epochs
    assert stops[0] >= 1
    assert all(a < b for a, b in pairwise(stops))


@pytest.mark.parametrize(
    ("epochs", "eta", "stops"),
    [
        (27, 3, (3, 9, 27)),
        (10, 3, (1, 3, 10)),
        (81, 3, (9, 27, 81)),
        (1, 3, (1,)),
        (2, 2, (1, 2)),
        (3, 9, (1, 3)),
    ],
)
def test_rungs(epochs: int, eta: int, stops: tuple[int, ...]) -> None:
    assert rungs(epochs, eta) == stops


@pytest.mark.parametrize("eta", [1, 0, -3])
def test_halving_keeps_fewer_than_all(eta: int) -> None:
    with pytest.raises(ConfigError) as caught:
        rungs(10, eta)
    assert caught.value.got == f"--halving {eta}"


def record(value: Any, status: Any = "ok") -> Record:
    return Record("trl_0", "train", 1, status, (), {}, {} if value is Ellipsis else {"loss": value})


def kept(values: list[Any], eta: int = 3, goal: Any = "minimize") -> list[int]:
    records = {str(i): v if isinstance(v, Record) else record(v) for i, v in enumerate(values) if v != "none"}
    ids = [str(i) for i in range(len(values))]
    return sorted(int(i) for i in survivors({"one": [[i] for i in ids]}, records, "loss", goal, eta))


def test_the_best_go_on_and_a_third_is_rounded_up() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 7.0]
    assert kept(values) == [1, 3, 4]
    assert kept(values, goal="maximize") == [0, 5, 6]
    assert kept(values, eta=100) == [1]


def test_what_has_no_value_never_goes_on() -> None:
    lost = record(0.0, "diverged")
    assert kept([lost, math.nan, None, ..., "none", math.inf, 3.0, 4.0]) == [6, 7]
    assert kept([lost, None]) == []
    assert kept([record(1.0, "flagged"), 2.0]) == [0]


def test_of_equals_the_first_asked_for() -> None:
    assert kept([2.0, 1.0, 1.0, 1.0, 2.0, 1.0]) == [1, 2]
    assert kept([1.0] * 4, goal="maximize") == [0, 1]


def test_every_group_keeps_its_own() -> None:
    groups = {"narrow": [["a"], ["b"], ["c"]], "wide": [["d"], ["e"], ["f"], ["g"]]}
    records = {name: record(float(i)) for i, name in enumerate("abcdefg")}
    assert survivors(groups, records, "loss", "minimize", 3) == {"a", "d", "e"}
    assert survivors(groups, records, "another figure", "minimize", 3) == set()


def test_repeats_go_on_together_by_their_mean() -> None:
    groups = {"one": [["a", "b"], ["c", "d"], ["e", "f"]]}
    records = {
        name: record(value) for name, value in zip("abcdef", (0.0, 9.0, 3.0, 4.0, 2.0, 8.0), strict=True)
    }
    assert survivors(groups, records, "loss", "minimize", 3) == {"c", "d"}
    assert survivors(groups, records, "loss", "maximize", 3) == {"e", "f"}
    records["c"] = record(0.0, "diverged")
    assert survivors(groups, records, "loss", "minimize", 3) == {"a", "b"}, "one that lost a repeat does not"
    del records["b"]
    records["f"] = record(1.0, "failed")
    assert survivors(groups, records, "loss", "minimize", 3) == set()


def test_who_repeats_whom() -> None:
    trials = [
        TRAIN.trial(TrainConfig(learning_rate=rate, seed=seed)) for rate in (0.1, 0.2) for seed in (0, 1)
    ]
    a, b, c, d = (trial.id for trial in trials)
    assert repeats([trials[i] for i in (0, 2, 1, 3)], "seed") == [[a, b], [c, d]]
    assert repeats(trials, None) == [[a], [b], [c], [d]]
    other = TRAIN.trial(TrainConfig(learning_rate=0.1, data=BundledData(seed=1)))
    assert repeats([trials[0], other], "seed") == [[a], [other.id]]
    assert repeats([trials[0], other], "data.seed") == [[a, other.id]]
    assert other.config.data.seed == 1, "as it was"


def test_one_call_size_serves_every_rung() -> None:
    assert call_size(270, 3, 3, lanes=4) == 30
    assert call_size(271, 3, 3, lanes=4) == 31
    assert call_size(5, 3, 3, lanes=4) == 4


@given(
    st.lists(st.one_of(st.floats(-10, 10), st.just(math.nan)), min_size=1, max_size=40),
    st.integers(2, 5),
    st.sampled_from(["minimize", "maximize"]),
)
def test_no_one_left_behind_is_better(values: list[float], eta: int, goal: str) -> None:
    sign = 1 if goal == "minimize" else -1
    on = kept(values, eta, goal)
    scores = [sign * v if math.isfinite(v) else math.inf for v in values]
    assert len(on) == min(math.ceil(len(values) / eta), sum(map(math.isfinite, values)))
    left = [scores[i] for i in range(len(values)) if i not in on]
    assert all(scores[i] <= min(left, default=math.inf) for i in on)
