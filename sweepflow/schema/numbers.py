"""Numbers in a compiled program: their types, and the check that a number fits its type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import ml_dtypes
import numpy as np

from sweepflow.errors import ConfigError

Number = bool | int | float
WHOLE = np.dtype(np.int32)
"""Type of whole numbers in a program."""
FRACTION = np.dtype(np.float64)
"""Type of fractions fed to a program; a program of lower precision itself rounds them to the nearest."""


def plain_number(value: object) -> Number | None:
    """Convert a NumPy scalar, an enumeration of numbers or the like to Python's bool, int or float; None if
    it is not a number."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else None


def type_of(value: Number) -> np.dtype:
    """The type with which a number is fed to a program."""
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    return WHOLE if isinstance(value, int) else FRACTION


def held(value: Number, dtype: np.dtype) -> Number | None:
    """The number that represents a value in a type.

    Args:
        value: Any number.
        dtype: The type; a fraction needs a floating type.

    Returns:
        The value itself, or the nearest fraction. None if the value does not fit: it would be cut off,
        infinite, or so small that programs use 0 instead (they flush subnormal numbers to 0).
    """
    if dtype == np.bool_:
        return value if isinstance(value, bool) else None
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return value if isinstance(value, int) and limits.min <= value <= limits.max else None
    try:
        with np.errstate(over="ignore", under="ignore"):
            nearest = float(np.float64(value).astype(dtype))
    except OverflowError:  # a whole number beyond float64
        return None
    smallest = float(ml_dtypes.finfo(dtype).smallest_normal)
    return nearest if math.isfinite(nearest) and (value == 0 or abs(nearest) >= smallest) else None


def limits_of(dtype: np.dtype) -> str:
    """The range of a type, in words."""
    if dtype == np.bool_:
        return "true or false"
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return f"whole numbers from {limits.min} to {limits.max} ({dtype})"
    floating = ml_dtypes.finfo(dtype)
    smallest, largest = float(floating.smallest_normal), float(floating.max)
    return f"0, and sizes from {smallest:.3g} to {largest:.3g} ({dtype})"


def fitting(key: str, value: Number, dtype: np.dtype, do: str | None = None) -> Number:
    """The number that represents a value in a type; see `held`.

    Args:
        key: Dotted key of the value, for the error.
        value: The number.
        dtype: The type.
        do: Advice for a value that does not fit.

    Raises:
        ConfigError: if the value does not fit.
    """
    found = held(value, dtype)
    if found is None:
        raise ConfigError(
            "a number does not fit the type that the program computes with",
            got=f"{key}={value}",
            allowed=limits_of(dtype),
            do=do or "give one within these limits",
        )
    return found


def check_steps(key: str, steps: int) -> None:
    """Check that a program can count its steps.

    Args:
        key: Dotted keys that give the number of steps, for the error.
        steps: Number of steps.

    Raises:
        ConfigError: if the counter would overflow to its lowest number.
    """
    fitting(key, steps, WHOLE, "ask for fewer steps: programs count them in int32")


def fed(key: str, values: Sequence[Number]) -> np.ndarray:
    """The values of one traced field in several trials, as they are fed to a program.

    Args:
        key: Dotted key of the field.
        values: The values, all of one type.

    Raises:
        ConfigError: for a value that does not fit.
    """
    dtype = type_of(values[0])
    return np.array([fitting(key, value, dtype) for value in values], dtype)
