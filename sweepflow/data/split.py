"""The split into training and test rows, and standardising by the training rows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from sweepflow.data.streams import stream
from sweepflow.errors import DataError


def split_sizes(rows: int, test_fraction: float) -> tuple[int, int]:
    """Return the numbers of training and test rows: `round(test_fraction * rows)` rows are for testing.

    Raises:
        DataError: where either part would be empty.
    """
    n_test = round(test_fraction * rows)
    if not 0 < n_test < rows:
        raise DataError(
            "the split leaves no training row" if n_test else "the split leaves no test row",
            got=f"test_fraction={test_fraction} of {rows} rows = {n_test} test rows",
            allowed=f"1 to {rows - 1} test rows: test_fraction from {1 / rows:.3g} to {1 - 1 / rows:.3g}",
            do="choose another data.test_fraction; 0.2 is usual",
        )
    return rows - n_test, n_test


def split_rows(
    rows: int, test_fraction: float, seed: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n_test"]]:
    """Row numbers of the training and of the test part: a permutation drawn from the seed, then cut.

    Raises:
        DataError: where either part would be empty.
    """
    n, _ = split_sizes(rows, test_fraction)
    order = stream(seed, "split").permutation(rows)
    return order[:n], order[n:]


def standardize(
    train: Float[np.ndarray, "n ..."], test: Float[np.ndarray, "n_test ..."], *, per_feature: bool = True
) -> tuple[Float[np.ndarray, "n ..."], Float[np.ndarray, "n_test ..."]]:
    """Subtract the training mean from both parts, and divide both by the training standard deviation.

    A feature that is constant over the training rows is centred and not scaled: there is no unit to
    take from it.

    Args:
        train: Rows from which the mean and deviation are taken.
        test: Rows that get the same treatment.
        per_feature: Whether to take one mean and deviation for each feature; else one for the whole array,
            which keeps the contrast within an image.
    """
    axis = 0 if per_feature else None
    constant = np.ptp(train, axis=axis) == 0
    scale = np.where(constant, 1.0, train.std(axis=axis))
    mean = train.mean(axis=axis)
    return (train - mean) / scale, (test - mean) / scale
