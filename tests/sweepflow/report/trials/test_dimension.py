from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.report.trials.configurations import configuration_numbers
from sweepflow.report.trials.dimension import Dimension, dimensions, line_ticks
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]

SETTINGS = (
    st.none()
    | st.floats(-1e3, 1e3).map(lambda v: float(f"{v:.3g}"))
    | st.integers(-5, 500)
    | st.sampled_from(["sgd", "adam"])
    | st.booleans()
    | st.lists(st.sampled_from([16, 32, 64]), max_size=3)
)


def axis_of(values: list[Any], log: bool = False) -> Dimension:
    records = [
        Record(f"trl_{i}", "w", 1, "ok", (), {} if v is ... else {"key": v}, {"m": 1.0})
        for i, v in enumerate(values)
    ]
    (axis,) = dimensions(TrialsView(records, "m", "minimize", frozenset({"key"} if log else ()), {}, None))
    return axis


def test_a_log_key_stands_by_its_logarithm() -> None:
    axis = axis_of([1e-4, 3e-3, 1e-1, 0.02, 0.5, 2e-5, 3e-5, 7e-4, 8e-2, 0.3], log=True)
    np.testing.assert_allclose(axis.at[:3], np.log10([1e-4, 3e-3, 1e-1]))
    assert axis.title == "key (log)"
    assert [text for _, text in axis.ticks] == ["1e-4", "0.001", "0.01", "0.1"]


def test_what_is_no_number_has_a_place_before_the_lowest() -> None:
    axis = axis_of([0.0, 1e-4, None, 1e-2, ..., 1e-3], log=True)
    assert axis.continuous and axis.numbers.tolist() == [False, True, False, True, False, True]
    assert [text for _, text in axis.ticks][:3] == ["0", "none", "not set"]
    assert max(axis.at[[0, 2, 4]]) < min(axis.at[[1, 3, 5]])
    assert len(set(axis.at[[0, 2, 4]])) == 3


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([32, 64, 128, 256], True),
        ([0.1, 0.2, 0.3, 0.4, 0.5], False),
        ([1e-4, 0.1], True),
        ([0, 1, 2, 3], False),
        ([16, 48, 80], False),
        ([-1, 10, 1000], False),
        ([0.0081234, 0.412345, 0.98765], False),
    ],
)
def test_a_grid_of_even_ratios_is_read_on_a_log_scale(values: list[Any], log: bool) -> None:
    assert axis_of(values).log is log


def test_choices_keep_the_order_of_words_and_sort_sizes() -> None:
    assert [t for _, t in axis_of(["sgd", "adam", "sgd", "lion"]).ticks] == ["sgd", "adam", "lion"]
    assert [t for _, t in axis_of([[64, 64], [32], [16, 16], None]).ticks] == [
        "none",
        "[32]",
        "16×16",
        "64×64",
    ]


@given(st.lists(SETTINGS | st.just(...), min_size=2, max_size=30), st.booleans())
def test_every_setting_has_one_place_on_the_axis(values: list[Any], log: bool) -> None:
    records = [
        Record(f"trl_{i}", "w", 1, "ok", (), {} if v is ... else {"key": v}, {"m": 1.0})
        for i, v in enumerate(values)
    ]
    view = TrialsView(records, "m", "minimize", frozenset({"key"} if log else ()), {}, None)
    for axis in dimensions(view):
        assert np.isfinite(axis.at).all() and math.isfinite(axis.low) and math.isfinite(axis.high)
        for at in (axis.at, axis.scattered(configuration_numbers(view))):
            assert (axis.low <= at).all() and (at <= axis.high).all()
        for text in set(axis.texts):
            ours = axis.at[np.array(axis.texts) == text]
            assert np.ptp(ours) <= 1e-9 * max(1.0, abs(ours[0])) or axis.continuous
        places = [place for place, _ in axis.ticks]
        assert places and all(axis.low <= place <= axis.high for place in places)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_linear_ticks_are_few_and_inside(low: float, span: float) -> None:
    ticks = line_ticks(low, low + span, log=False)
    assert 2 <= len(ticks) <= 8
    assert all(low - 1e-6 * span <= place <= low + span * (1 + 1e-6) for place, _ in ticks)


@given(st.floats(-12, 6), st.floats(0.05, 14))
def test_log_ticks_are_few_and_inside(low: float, span: float) -> None:
    ticks = line_ticks(low, low + span, log=True)
    assert len(ticks) <= 7
    assert all(low - 1e-6 <= place <= low + span + 1e-6 for place, _ in ticks)


def test_repeats_are_moved_together(trial: Trial, view_of: ViewOf) -> None:
    records = [
        trial(optimizer=o, learning_rate=r, seed=s) for o in "ab" for r in (1, 2, 3) for s in (0, 1, 2)
    ]
    view = view_of(records)
    axis = dimensions(view)[0]
    assert axis.crowded
    moved = axis.scattered(configuration_numbers(view))
    assert len(np.unique(moved)) == 6
    assert (moved.reshape(6, 3) == moved.reshape(6, 3)[:, :1]).all()
