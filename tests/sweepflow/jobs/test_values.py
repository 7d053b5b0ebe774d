"""Return values as JSON and arrays: the same values and types come back, or it is said what cannot."""

from __future__ import annotations

import json
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sweepflow.jobs.values import TAG, UnkeepableError, keep, restore

NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers()
LEAVES = (
    NUMBERS
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_side=3))
    | hnp.from_dtype(np.dtype("float32"))
)
KEYS = st.text(max_size=4) | st.just(TAG)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal in type and value, NaN being equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@given(VALUES.filter(lambda value: not has_other_arrays(value)))
def test_a_value_comes_back(value: Any) -> None:
    content, arrays = keep(value)
    assert same(restore(json.loads(json.dumps(content, allow_nan=False)), arrays), value)


def has_other_arrays(value: Any) -> bool:
    """Whether there are arrays of what is no number: of times, say."""
    if isinstance(value, dict):
        return any(map(has_other_arrays, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(has_other_arrays, value))
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "biufc"


def test_arrays_of_jax_come_back_as_numpys() -> None:
    content, arrays = keep({"w": jnp.arange(3.0), "step": jnp.int32(4)})
    found = restore(content, arrays)
    assert isinstance(found["w"], np.ndarray) and found["w"].tolist() == [0, 1, 2]
    assert found["step"].dtype == np.int32 and int(found["step"]) == 4


class Opaque:
    """Nothing that JSON has a word for."""


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Opaque(), "value: "),
        ([1, {"a": (2, Opaque())}], "value.1.a.1: "),
        ({1: "a key that is no text"}, "value: builtins.dict"),
        ({1, 2}, "value: builtins.set"),
        (np.array([Opaque()]), "value: numpy.ndarray"),
        (np.array(["2026-11-21"], "datetime64[D]"), "value: numpy.ndarray"),
        (np.datetime64("2026-11-21"), "value: numpy.datetime64"),
        (lambda: 1, "value: builtins.function"),
    ],
    ids=["object", "nested", "keys", "set", "objects", "times", "time", "function"],
)
def test_what_cannot_be_kept_is_named_with_its_place(value: Any, where: str) -> None:
    with pytest.raises(UnkeepableError) as error:
        keep(value)
    assert where in error.value.got
    assert "cache=True" in (error.value.do or "")
