"""What fits a type, and what it holds in a number's place."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, PositiveFloat

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config, Traced, check_numbers, traced_part, with_numbers
from sweepflow.schema.numbers import fed, held, limits_of, plain_number, type_of

FLOAT32 = np.dtype(np.float32)
WRONG = "a number does not fit"


@given(st.integers() | st.booleans())
def test_a_whole_number_is_held_exactly_or_not_at_all(value: int) -> None:
    fits = isinstance(value, bool) or -(2**31) <= value < 2**31
    assert held(value, type_of(value)) == (value if fits else None)
    if fits:
        (found,) = fed("x", [value])
        assert found == value and found.dtype == (np.bool_ if isinstance(value, bool) else np.int32)
    else:
        with pytest.raises(ConfigError, match=f"{WRONG}.*\n.*x={value}\n.*-2147483648 to 2147483647"):
            fed("x", [value])


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**320), 10**320))
@pytest.mark.parametrize("name", ["float32", "float64", "float16"])
def test_a_fraction_is_held_as_its_nearest_or_not_at_all(name: str, value: float) -> None:
    dtype = np.dtype(name)
    found, limits = held(value, dtype), np.finfo(dtype)
    if found is None:
        assert abs(value) > float(limits.max) or 0 < abs(value) < float(limits.smallest_normal)
        return
    assert found == float(dtype.type(found)), "the type holds it"
    assert (found == 0) == (value == 0)
    for neighbour in (-math.inf, math.inf):
        with np.errstate(over="ignore"):
            other = float(np.nextafter(dtype.type(found), dtype.type(neighbour)))
        assert math.isinf(other) or abs(found - value) <= abs(other - value)


class Sort(enum.IntEnum):
    LARGE = 7


NUMBERS = [
    (np.bool_(True), True),
    (np.int64(2**40), 2**40),
    (np.float32(0.5), 0.5),
    (Sort.LARGE, 7),
    ("7", None),
    ((1, 2), None),
    (1j, None),
]


@pytest.mark.parametrize(("given", "number"), NUMBERS)
def test_numbers_of_any_library_are_pythons_own(given: object, number: object) -> None:
    found = plain_number(given)
    assert (found, type(found)) == (number, type(number))


class Inner(Config):
    decay: Traced[Annotated[float, Field(ge=0, lt=1)]] = 0.5


class Numbers(Config):
    flag: Traced[bool] = False
    count: Traced[int] = 0
    rate: Traced[float] = 0.5
    scale: Traced[PositiveFloat | None] = None
    either: Traced[int | float] = 1
    one_of: Traced[Literal[1, 2.5]] = 1
    sort: Traced[Sort] = Sort.LARGE
    inner: Inner = Inner()


def test_the_kind_of_each_traced_number() -> None:
    found = traced_part(Numbers(count=2**60, rate=1))
    assert {key: (value, type(value)) for key, value in found.items()} == {
        "flag": (False, bool),
        "count": (2**60, int),  # an int above 2^53 loses no digit on the way
        "rate": (1.0, float),
        "either": (1.0, float),
        "one_of": (1, int),
        "sort": (7, int),
        "inner.decay": (0.5, float),
    }
    assert with_numbers(Numbers(), found).scale is None
    assert traced_part(Numbers(scale=2))["scale"] == 2.0


REFUSED = [
    ({"count": 2**31}, "count=2147483648", "whole numbers from -2147483648 to 2147483647 (int32)"),
    ({"rate": 1e39}, "rate=1e+39", "0, and sizes from 1.18e-38 to 3.4e+38 (float32)"),
    ({"rate": -1e-39}, "rate=-1e-39", "0, and sizes from 1.18e-38"),
    ({"either": 10**400}, "either=1000", "(float64)"),
    ({"scale": 1e-50}, "scale=1e-50", "0, and sizes"),
    ({"inner": {"decay": 1 - 1e-9}}, "inner.decay=0.999999999", "less than 1"),
    ({"inner": {"decay": 1e-45}}, "inner.decay=1e-45", "0, and sizes"),
]


@pytest.mark.parametrize(("values", "got", "allowed"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_a_program_would_see_otherwise_is_refused(
    values: dict[str, Any], got: str, allowed: str
) -> None:
    config = Numbers(**values)
    with pytest.raises(ConfigError) as told:
        check_numbers(config, FLOAT32, "do so")
    assert got in str(told.value) and allowed in str(told.value) and told.value.do


def test_a_field_that_holds_no_number() -> None:
    class Texts(Config):
        name: Traced[str] = "adam"

    with pytest.raises(ConfigError, match=r"one number.*\n.*name='adam' \(str\)\n.*\n.*leave Traced away"):
        traced_part(Texts())


def test_limits_in_words() -> None:
    assert limits_of(np.dtype(bool)) == "true or false"
