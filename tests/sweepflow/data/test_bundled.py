"""Real rows, split by seed and standardised by the training rows alone."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets

from sweepflow.data import describe, load
from sweepflow.errors import DataError
from sweepflow.schema.data import BundledData


def test_digits_are_images_standardised_as_a_whole() -> None:
    data = load(BundledData(name="digits"))
    assert data.x.shape == (1438, 1, 8, 8)
    assert data.x_test.shape == (359, 1, 8, 8)
    assert data.x.mean() == pytest.approx(0.0, abs=1e-12)
    assert data.x.std() == pytest.approx(1.0)
    assert len(np.unique(np.round(data.x, 9))) == 17, "one affine map of the pixel values 0 to 16"
    corner = data.x[:, 0, 0, 0]
    assert np.ptp(corner) == 0.0
    assert corner[0] == data.x.min()


def test_every_row_of_digits_is_there_once_with_its_own_label() -> None:
    data, source = load(BundledData(name="digits", seed=4)), sklearn.datasets.load_digits()
    pixels = np.concatenate([data.x, data.x_test]).reshape(-1, 64)
    back = np.round((pixels - pixels.min()) / np.ptp(pixels) * 16)
    got = np.column_stack([back, np.concatenate([data.y, data.y_test])])
    wanted = np.column_stack([source.data, source.target])
    np.testing.assert_array_equal(got[np.lexsort(got.T)], wanted[np.lexsort(wanted.T)])


@pytest.mark.parametrize("name", ["diabetes", "breast_cancer"])
def test_tables_are_standardised_by_column_on_the_training_rows(name: str) -> None:
    data = load(BundledData(name=name))
    np.testing.assert_allclose(data.x.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(data.x.std(axis=0), 1.0)
    assert np.abs(data.x_test.mean(axis=0)).max() > 1e-3, "the test rows had no say"
    if name == "diabetes":
        assert data.y.shape == (354, 1)
        assert data.y.mean() == pytest.approx(0.0, abs=1e-12)
        assert data.y.std() == pytest.approx(1.0)


def test_least_squares_learns_diabetes_from_the_training_rows() -> None:
    data = load(BundledData(name="diabetes"))
    weights = np.linalg.lstsq(data.x, data.y, rcond=None)[0]
    r2 = 1 - np.mean((data.y_test - data.x_test @ weights) ** 2) / data.y_test.var()
    assert 0.3 < r2 < 0.7, "published linear fits reach about 0.5"


@pytest.mark.parametrize(("fraction", "message"), [(0.0001, "no test row"), (0.9999, "no training row")])
def test_a_split_that_leaves_nothing_is_refused(fraction: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        describe(BundledData(name="diabetes", test_fraction=fraction))
