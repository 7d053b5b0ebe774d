"""An archive is read without unpickling, and refused in words where it is not x and y."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from sweepflow.data.labels import class_indices
from sweepflow.data.npz_arrays import parse_npz
from sweepflow.errors import DataError

X, Y = np.arange(24.0).reshape(12, 2), np.arange(12.0)


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def parse(content: bytes, classify: bool = False) -> tuple[np.ndarray, np.ndarray]:
    return parse_npz(content, "my data.npz", classify=classify)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8, bool])
def test_real_arrays_of_any_type_become_float64(dtype: type) -> None:
    x, y = parse(archive(x=X.astype(dtype), y=Y.astype(dtype)))
    np.testing.assert_array_equal(x, X.astype(dtype).astype(np.float64))
    np.testing.assert_array_equal(y, Y.astype(dtype).astype(np.float64))
    assert x.dtype == y.dtype == np.float64


def test_shapes_that_are_taken() -> None:
    assert parse(archive(x=Y, y=Y))[0].shape == (12, 1)
    assert parse(archive(x=X.reshape(12, 1, 2, 1), y=X))[0].shape == (12, 1, 2, 1)
    assert parse(archive(x=X, y=X))[1].shape == (12, 2)
    assert parse(archive(x=X, y=Y[:, None]), classify=True)[1].shape == (12,)
    assert parse(archive(x=X, y=np.array(["a", "b"] * 6)), classify=True)[1][1] == "b"


def with_value(value: float) -> np.ndarray:
    x = X.copy()
    x[3, 1] = x[7, 0] = value
    return x


REFUSED: dict[str, tuple[dict[str, Any], bool, str]] = {
    "no_x": ({"X": X, "y": Y}, False, r"no array 'x'\n.*\['X', 'y'\]"),
    "no_y": ({"x": X}, False, r"no array 'y'\n.*\['x'\]"),
    "nothing": ({}, False, r"no array 'x'\n.*\[\]"),
    "objects": ({"x": np.array([[1], [2, 3]], dtype=object), "y": Y}, False, "never unpickles"),
    "object_labels": ({"x": X, "y": np.array([None] * 12)}, True, "array 'y' .* never unpickles"),
    "complex": ({"x": X + 1j, "y": Y}, False, r"wrong type\n.*complex128"),
    "text": ({"x": X.astype(str), "y": Y}, True, r"array 'x' .* wrong type"),
    "text_targets": ({"x": X, "y": Y.astype(str)}, False, r"array 'y' .* wrong type"),
    "scalar": ({"x": 1.0, "y": Y}, False, r"no features\n.*shape \(\)"),
    "no_columns": ({"x": np.zeros((12, 0)), "y": Y}, False, r"no features\n.*shape \(12, 0\)"),
    "y_cube": ({"x": X, "y": np.zeros((12, 1, 1))}, False, r"wrong shape\n.*\(12, 1, 1\)"),
    "one_hot": ({"x": X, "y": np.eye(12)}, True, "not one-hot"),
    "uneven": ({"x": X, "y": Y[:-1]}, False, "x has 12 rows, y has 11"),
    "nan": ({"x": with_value(np.nan), "y": Y}, False, r"2 of 24, the first at index \(3, 1\) \(row 4\)"),
    "infinity": ({"x": X, "y": with_value(-np.inf)}, False, r"array 'y' .*\n.*2 of 24"),
    "too_large": ({"x": with_value(1e200), "y": Y}, False, "2 of 24"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_how(case: str) -> None:
    arrays, classify, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        parse(archive(**arrays), classify)
    assert "'my data.npz'" in str(caught.value)


def single_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, X)
    return buffer.getvalue()


TORN = {
    "empty": b"",
    "text": b"x,y\n1,2\n",
    "half": archive(x=X, y=Y)[:200],
    "npy": single_array(),
}


@pytest.mark.parametrize("case", TORN)
def test_what_is_no_archive(case: str) -> None:
    with pytest.raises(DataError, match=r"not a whole \.npz archive"):
        parse(TORN[case])


def test_any_single_damaged_byte_is_read_right_or_refused() -> None:
    whole, refused = archive(x=X, y=Y), 0
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        try:
            x, y = parse(bytes(damaged))
        except DataError:
            refused += 1
            continue
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)
    assert refused


def test_whole_labels_of_64_bits_are_told_apart() -> None:
    labels = np.array([2**53, 2**53 + 1, 2**53, -(2**62)])
    _, y = parse(archive(x=np.ones((4, 2)), y=labels), classify=True)
    indices, classes = class_indices(y, "array 'y'")
    assert (indices.tolist(), classes) == ([1, 2, 1, 0], 3)
