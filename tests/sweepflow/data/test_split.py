"""Splits are partitions; standardising is affine and survives constant features."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.data.split import split_rows, split_sizes, standardize
from sweepflow.errors import DataError


@given(st.integers(1, 2000), st.floats(0.001, 0.999), st.integers(0, 2**32 - 1))
def test_a_split_is_a_partition_or_an_error(rows: int, fraction: float, seed: int) -> None:
    n_test = round(rows * fraction)
    if n_test in (0, rows):
        with pytest.raises(DataError, match="the split leaves no"):
            split_sizes(rows, fraction)
        return
    train, test = split_rows(rows, fraction, seed)
    assert (len(train), len(test)) == split_sizes(rows, fraction) == (rows - n_test, n_test)
    assert sorted([*train, *test]) == list(range(rows))


def test_the_seed_decides_the_split() -> None:
    first, again, other = (split_rows(100, 0.2, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)


def test_standardize_uses_the_training_rows_alone() -> None:
    train, test = np.array([[0.0, 1.0], [2.0, 5.0]]), np.array([[3.0, 3.0]])
    scaled, scaled_test = standardize(train, test)
    np.testing.assert_allclose(scaled, [[-1.0, -1.0], [1.0, 1.0]])
    np.testing.assert_allclose(scaled_test, [[2.0, 0.0]])
    whole, _ = standardize(train, test, per_feature=False)
    np.testing.assert_allclose(whole, (train - 2.0) / np.sqrt(3.5))


def test_constant_features_are_centred_and_not_scaled() -> None:
    train = np.column_stack([np.full(11, 0.1), np.arange(11.0)])
    scaled, scaled_test = standardize(train, np.array([[2.1, 5.0]]))
    np.testing.assert_allclose(scaled[:, 0], 0.0, atol=1e-15)
    np.testing.assert_allclose(scaled_test, [[2.0, 0.0]])
    everything, _ = standardize(np.full((3, 1, 2, 2), 7.0), np.full((1, 1, 2, 2), 9.0), per_feature=False)
    np.testing.assert_array_equal(everything, 0.0)
