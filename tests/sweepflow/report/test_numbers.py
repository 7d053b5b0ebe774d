from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sweepflow.report.numbers import number, points, setting, short, with_error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.345, "12.3"),
        (0.0, "0"),
        (999.96, "1000"),
        (1234.6, "1235"),
        (1.2e7, "1.2e7"),
        (1e-5, "1e-5"),
        (-0.5, "-0.5"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_short(value: float | None, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (12.3456, 0.42, "12.35 ± 0.42"),
        (12.3456, 4.2, "12.3 ± 4.2"),
        (1234.5, 42.0, "1234 ± 42"),
        (3.0, 0.0, "3"),
        (3.0, None, "3"),
        (None, 1.0, "–"),
        (2.5e8, 1e7, "2.5e8 ± 1e7"),
    ],
)
def test_with_error(value: float | None, half: float | None, text: str) -> None:
    assert with_error(value, half) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (2.5e-5, "2.5e-5"),
        (0.01, "0.01"),
        (1e4, "10000"),
        (1e7, "1e7"),
        ([32, 32], "32×32"),
        ([], "[]"),
        (None, "none"),
        (True, "true"),
        (7, "7"),
        ([32], "[32]"),
        ("adam", "adam"),
        ("first try", "first try"),
        ("none", '"none"'),
        ("True", '"True"'),
        ("1e3", '"1e3"'),
        ("", '""'),
        (" a", '" a"'),
        (["1", 1], '"1"×1'),
    ],
)
def test_setting(value: object, text: str) -> None:
    assert setting(value) == text


WORDS = st.sampled_from(
    ["none", "null", "true", "1", "1e3", "-.5", "", " ", "a ", "1×2", "[]", '"1"', "{}", "–"]
)
SCALARS = st.none() | st.booleans() | st.integers(-99, 99) | st.sampled_from([0.5, 1e-5, 1e7]) | WORDS
VALUES = st.recursive(SCALARS | st.text(max_size=6), lambda v: st.lists(v, max_size=3), max_leaves=4)


@given(VALUES, VALUES)
@example("none", None)
@example([1], 1)
@example([[1, 2], 3], [1, 2, 3])
def test_different_settings_have_different_labels(one: object, other: object) -> None:
    assert (setting(one) == setting(other)) == (json.dumps(one) == json.dumps(other))
    if isinstance(one, str) and one.isalpha() and one.lower() not in {"none", "null", "true", "false"}:
        assert setting(one) == one or float(one)


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_short_is_the_value_to_three_digits(value: float) -> None:
    assert float(short(value)) == pytest.approx(value, rel=5.1e-3, abs=1e-300)


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_a_setting_is_read_back(value: float) -> None:
    assert float(setting(value)) == pytest.approx(value, rel=6e-4)


def test_points_are_json() -> None:
    assert points(np.array([1.0, math.nan, math.inf, 1 / 3])) == [1.0, None, None, 0.33333]


def test_a_figure_that_is_no_finite_number_is_none() -> None:
    assert number({"llc": math.nan}, "llc") is None
    assert number({"llc": None}, "llc") is None
    assert number({}, "llc") is None
    assert number({"llc": 3}, "llc") == 3.0
