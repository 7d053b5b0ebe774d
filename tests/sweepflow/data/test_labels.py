"""Class labels become 0 to K-1 in sorted order, whatever they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.data.labels import class_indices
from sweepflow.errors import DataError

LABELS = st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=30).filter(lambda v: len(set(v)) > 1)


@given(LABELS, st.sampled_from([np.int64, np.float64]))
def test_indices_keep_order_and_identity(labels: list[int], dtype: type) -> None:
    indices, classes = class_indices(np.array(labels, dtype=dtype), "y")
    known = sorted(set(labels))
    assert classes == len(known)
    assert indices.dtype == np.float64
    assert [known[int(i)] for i in indices] == labels


def test_strings_and_booleans_are_classes_too() -> None:
    assert class_indices(np.array(["dog", "cat", "dog"]), "y")[0].tolist() == [1.0, 0.0, 1.0]
    assert class_indices(np.array([True, False]), "y")[0].tolist() == [1.0, 0.0]


def test_fractions_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"whole numbers: column 'kind'\n.*1\.5 in row 2, and 2 such"
    ) as caught:
        class_indices(np.array([1.0, 1.5, 2.5, 2.0]), "column 'kind'")
    assert "data.task=regression" in str(caught.value)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match=r"two classes or more: y\n.*only 3 in 4 rows"):
        class_indices(np.full(4, 3), "y")
