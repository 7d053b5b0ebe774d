"""Both potentials are told apart by their coefficients alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.data import Dataset, load
from sweepflow.schema.data import NormalCrossingData, QuadraticData


def potential(data: Dataset, w: np.ndarray) -> float:
    """The polynomial as `sweepflow.data.potential` defines it."""
    quadratic, exponents = data.x
    crossing = np.prod(w ** (2 * exponents)) if exponents.any() else 0.0
    return float(0.5 * np.sum(quadratic * w**2) + crossing)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 2**16))
def test_normal_crossing(exponents: list[int], seed: int) -> None:
    data = load(NormalCrossingData(exponents=tuple(exponents), dimension=len(exponents)))
    w = np.random.default_rng(seed).uniform(0.5, 2.0, len(exponents))
    expected = np.prod([value ** (2 * k) for value, k in zip(w, exponents, strict=True)])
    assert potential(data, w) == pytest.approx(expected)
    assert data.truth is not None
    assert potential(data, data.truth) == 0.0


@given(st.lists(st.floats(0.0, 1e3), min_size=1, max_size=5), st.integers(0, 2**16))
def test_quadratic(eigenvalues: list[float], seed: int) -> None:
    data = load(QuadraticData(eigenvalues=tuple(eigenvalues), dimension=len(eigenvalues)))
    w = np.random.default_rng(seed).standard_normal(len(eigenvalues))
    assert potential(data, w) == pytest.approx(
        0.5 * sum(h * v * v for h, v in zip(eigenvalues, w, strict=True))
    )
    assert data.truth is not None
    assert data.truth.shape == w.shape
    assert potential(data, data.truth) == 0.0
