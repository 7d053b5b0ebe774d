"""Every distribution: its quantile function, its limits, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweepflow import space
from sweepflow.errors import ConfigError
from sweepflow.space.distribution import LARGEST_U, SMALLEST_U
from sweepflow.space.parse import KINDS, parse_distribution

NUMERIC = {
    "uniform": (space.uniform(-2.0, 3.0), stats.uniform(-2.0, 5.0).cdf),
    "log_uniform": (space.log_uniform(1e-5, 10.0), stats.loguniform(1e-5, 10.0).cdf),
    "normal": (space.normal(1.0, 2.0), stats.norm(1.0, 2.0).cdf),
    "log_normal": (space.log_normal(-3.0, 1.5), stats.lognorm(1.5, scale=math.exp(-3.0)).cdf),
    "truncated_normal": (
        space.truncated_normal(0.0, 1.0, 0.5, 2.0),
        stats.truncnorm(0.5, 2.0).cdf,
    ),
    "int_uniform": (space.int_uniform(-3, 9), stats.randint(-3, 10).cdf),
}
ALL = {
    **{name: distribution for name, (distribution, _) in NUMERIC.items()},
    "log_int_uniform": space.log_int_uniform(1, 512),
    "quantized": space.quantized(space.uniform(0.0, 1.0), 0.1),
    "categorical": space.categorical(["a", [64, 64], None], [0.2, 0.3, 0.5]),
    "constant": space.constant([1, 2]),
    "joint": space.joint([{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adam"}]),
}
EVEN = (np.arange(4000) + 0.5) / 4000


def test_every_distribution_is_tested() -> None:
    assert set(ALL) == set(KINDS) == {name for name in KINDS if hasattr(space, name)}


@pytest.mark.parametrize("name", ALL)
def test_plain_data_and_back(name: str) -> None:
    assert parse_distribution("key", ALL[name].model_dump(mode="json")) == ALL[name]


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("categorical", "constant", "joint")])
@given(u=st.lists(st.floats(SMALLEST_U, LARGEST_U), min_size=1, max_size=50))
def test_quantiles_are_finite_ordered_and_within_bounds(name: str, u: list[float]) -> None:
    points = np.sort(np.array([SMALLEST_U, *u, LARGEST_U]))
    values = ALL[name].ppf(points)
    assert all(type(value) in (int, float) and math.isfinite(value) for value in values)
    assert values == sorted(values)
    if ALL[name].bounds is not None:
        low, high = ALL[name].bounds
        assert low <= values[0] and values[-1] <= high
    if ALL[name].is_log:
        assert values[0] > 0


@pytest.mark.parametrize("name", NUMERIC)
def test_empirical_quantiles_follow_the_law(name: str) -> None:
    distribution, cdf = NUMERIC[name]
    values = np.array(distribution.ppf(EVEN))
    for probe in np.unique(values)[::7]:
        assert np.mean(values <= probe) == pytest.approx(cdf(probe), abs=1e-3)


def test_log_integers_are_drawn_nearly_as_one_over_k_and_reach_both_ends() -> None:
    values = np.array(space.log_int_uniform(1, 8).ppf(EVEN))
    expected = np.log((np.arange(1, 9) + 0.5) / (np.arange(1, 9) - 0.5)) / np.log(8.5 / 0.5)
    assert np.bincount(values)[1:] / len(EVEN) == pytest.approx(expected, abs=1e-3)


def test_weights_are_frequencies_and_weight_zero_is_never_drawn() -> None:
    distribution = space.categorical(["a", "b", "c"], [0.25, 0.0, 0.75])
    values = distribution.ppf(np.array([SMALLEST_U, *EVEN, LARGEST_U]))
    assert values.count("a") == 1001 and values.count("b") == 0 and values.count("c") == 3001
    assert distribution.levels() == ["a", "c"]


@given(st.integers(1, 60), st.floats(SMALLEST_U, LARGEST_U))
def test_summed_weights_that_end_below_one_still_cover_the_whole_interval(n: int, u: float) -> None:
    weights = [1 / n] * n
    places = space.categorical(list(range(n)), weights).ppf(np.array([u, LARGEST_U]))
    assert places[0] == pytest.approx(u * n, abs=1 + 1e-9) and places[1] == n - 1


def test_quantized_values_are_the_decimals_that_were_written() -> None:
    tenths = space.quantized(space.uniform(0.0, 0.35), 0.1)
    assert sorted(set(tenths.ppf(EVEN))) == [0.0, 0.1, 0.2, 0.3] == list(tenths.levels() or ())
    assert tenths.bounds == (0.0, 0.3)
    powers = space.quantized(space.log_int_uniform(10, 100), 16)
    assert powers.levels()[:2] == [16, 32] and powers.is_log  # type: ignore[index]
    assert all(type(value) is int and value % 16 == 0 for value in powers.ppf(EVEN))
    assert space.quantized(space.normal(0.0, 1.0), 0.5).levels() is None


def test_lists_of_samples_are_their_own() -> None:
    first, second = space.categorical([[64, 64]]).ppf(np.array([0.2, 0.8]))
    first.append(1)
    assert second == [64, 64]


BAD = {
    "log_uniform from 0": (lambda: space.log_uniform(0, 1), "low has to be above 0"),
    "log_uniform below 0": (lambda: space.log_uniform(-1, 1), "low=-1.0"),
    "log_int_uniform from 0": (lambda: space.log_int_uniform(0, 8), "int_uniform"),
    "low above high": (lambda: space.uniform(2, 1), "write low=1.0, high=2.0"),
    "low equals high": (lambda: space.int_uniform(3, 3), "constant"),
    "too wide": (lambda: space.uniform(-1.7e308, 1.7e308), "wider than"),
    "too large an int": (lambda: space.int_uniform(0, 2**60), "less than or equal to"),
    "negative sd": (lambda: space.normal(0, -1), "sd=-1.0"),
    "zero sd": (lambda: space.truncated_normal(0, 0, 0, 1), "sd has to be above 0"),
    "no bound": (lambda: space.truncated_normal(0, 1), "use normal"),
    "overflow": (lambda: space.log_normal(800, 1), "beyond what float64 holds"),
    "underflow": (lambda: space.log_normal(-740, 10), "beyond what float64 holds"),
    "zero step": (lambda: space.quantized(space.uniform(0, 1), 0), "step has to be above 0"),
    "no multiple": (lambda: space.quantized(space.uniform(0.2, 0.4), 0.5), "smaller step"),
    "tiny step": (lambda: space.quantized(space.uniform(0, 1e9), 1e-9), "larger step"),
    "inner condition": (
        lambda: space.quantized(space.uniform(0, 1, when="a == 1"), 0.1),
        "beside `of`",
    ),
    "quantized categorical": (lambda: space.quantized(space.categorical([1]), 1), "categorical"),  # type: ignore[arg-type]
    "no values": (lambda: space.categorical([]), "no values"),
    "value twice": (lambda: space.categorical([1, 1]), "given twice"),
    "value is no JSON": (lambda: space.categorical([math.nan]), "finite numbers"),
    "weights above 1": (
        lambda: space.categorical(["a", "b"], [0.9, 0.6]),
        r"whose sum is 1.5.*\n.*\n.*write weights: \[0.6, 0.4\]",
    ),
    "weights of another length": (lambda: space.categorical(["a", "b"], [1.0]), "1 weights for 2 values"),
    "negative weight": (lambda: space.categorical(["a", "b"], [1.5, -0.5]), "probabilities"),
    "no weight": (lambda: space.categorical(["a"], [0.0]), "not all of them 0"),
    "joint without keys": (lambda: space.joint([{}]), "name no keys"),
    "joint without choices": (lambda: space.joint([]), "no values"),
    "text for a number": (lambda: space.uniform("low", 1), "valid number"),  # type: ignore[arg-type]
    "infinity": (lambda: space.uniform(0, math.inf), "finite"),
    "no distribution": (lambda: parse_distribution("lr", 3), "constant, value: 3"),
    "bare list": (lambda: parse_distribution("lr", [1, 2]), r"values: \[1, 2\]"),
    "unknown": (lambda: parse_distribution("lr", {"distribution": "loguniform"}), "mean 'log_uniform'"),
    "unknown field": (
        lambda: parse_distribution("lr", {"distribution": "uniform", "low": 0, "hihg": 1, "high": 2}),
        "mean 'high'",
    ),
    "missing field": (lambda: parse_distribution("lr", {"distribution": "uniform", "low": 0}), "add high"),
    "bad condition": (lambda: space.uniform(0, 1, when="a = 1"), "compare with =="),
    "empty condition": (lambda: space.uniform(0, 1, when={}), "condition is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_distribution_is_refused(case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(ConfigError, match=message) as error:
        make()
    assert error.value.got is not None and error.value.do


def test_errors_of_plain_data_name_the_key() -> None:
    with pytest.raises(ConfigError, match=r"^learning_rate: log_uniform: low has to be above 0"):
        parse_distribution("learning_rate", {"distribution": "log_uniform", "low": 0, "high": 1})
    nested = {"distribution": "quantized", "step": 1, "of": {"distribution": "uniform", "low": 3, "high": 1}}
    with pytest.raises(ConfigError, match=r"^x: quantized: of: uniform: low has to be below high"):
        parse_distribution("x", nested)
