"""Designs of the unit cube: evenness, extension, and requests that make none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from sweepflow.errors import ConfigError
from sweepflow.space.designs import UNIT_METHODS, design_notes, unit_points

EXTENDING = ("sobol", "halton", "random")


@pytest.mark.parametrize("method", UNIT_METHODS)
@given(st.integers(1, 200), st.integers(1, 12), st.integers(0, 2**32))
@settings(max_examples=25)
def test_points_are_inside_the_cube_and_repeat(method: str, samples: int, dimensions: int, seed: int) -> None:
    points = unit_points(method, samples, dimensions, seed)  # type: ignore[arg-type]
    assert points.shape == (samples, dimensions) and points.dtype == np.float64
    assert (points > 0).all() and (points < 1).all()
    assert (points == unit_points(method, samples, dimensions, seed)).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("method", EXTENDING)
@given(st.integers(1, 150), st.integers(0, 150), st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=25)
def test_a_larger_design_begins_with_the_smaller(
    method: str, samples: int, more: int, dimensions: int, seed: int
) -> None:
    small = unit_points(method, samples, dimensions, seed)  # type: ignore[arg-type]
    large = unit_points(method, samples + more, dimensions, seed)  # type: ignore[arg-type]
    assert (large[:samples] == small).all()


@given(st.integers(0, 8), st.integers(1, 10), st.integers(0, 1000))
@settings(max_examples=25)
def test_sobol_puts_one_point_in_each_of_a_power_of_two_of_cells(
    log_samples: int, dimensions: int, seed: int
) -> None:
    samples = 2**log_samples
    cells = np.floor(unit_points("sobol", samples, dimensions, seed) * samples)
    assert (np.sort(cells, axis=0) == np.arange(samples)[:, None]).all()


def test_sobol_points_are_in_the_middle_of_the_finest_cells() -> None:
    assert set(unit_points("sobol", 64, 5, 0).ravel() * 2**31 % 2) == {1.0}


def test_sobol_and_halton_are_more_even_than_random() -> None:
    distance = {method: qmc.discrepancy(unit_points(method, 256, 4, 0)) for method in UNIT_METHODS}
    assert max(distance["sobol"], distance["halton"]) < distance["random"] / 10


def test_another_seed_is_another_design() -> None:
    for method in UNIT_METHODS:
        assert (unit_points(method, 16, 2, 0) != unit_points(method, 16, 2, 1)).all()


def test_only_sobol_of_no_power_of_two_says_what_that_costs() -> None:
    (note,) = design_notes("sobol", unit_points("sobol", 100, 3, 0), 0)
    assert "100 samples are no power of two" in note and "against" in note and "28 more" in note
    own, less, more = (
        qmc.discrepancy(unit_points("sobol", samples, 3, 0)) ** 0.5 for samples in (100, 64, 128)
    )
    assert f"is {own:.2g}, against {less:.2g} for 64 and {more:.2g} for 128" in note
    for method, samples in (("sobol", 64), ("sobol", 1), ("halton", 100), ("random", 100)):
        assert not design_notes(method, unit_points(method, samples, 3, 0), 0)  # type: ignore[arg-type]
    (long,) = design_notes("sobol", unit_points("sobol", 3000, 3, 0), 0)
    assert "1096 more" in long and "discrepancy" not in long


def test_latin_hypercube_says_that_it_does_not_extend() -> None:
    (note,) = design_notes("latin_hypercube", unit_points("latin_hypercube", 10, 2, 0), 0)
    assert "does not extend" in note


@pytest.mark.parametrize(
    ("method", "samples", "dimensions", "seed", "message"),
    [
        ("sobol", 0, 2, 0, "samples=0"),
        ("random", -3, 2, 0, "at least one sample"),
        ("random", 10**9, 2, 0, "too many samples"),
        ("halton", 4, 2, -1, "seed=-1"),
        ("sobol", 1, 21202, 0, "21202 parameters"),
        ("sobl", 4, 2, 0, "did you mean 'sobol'"),
    ],
)
def test_requests_that_make_no_design(
    method: str, samples: int, dimensions: int, seed: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        unit_points(method, samples, dimensions, seed)  # type: ignore[arg-type]
