"""Numbers as a compiled program holds them: of which type, and what does not fit it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import ml_dtypes
import numpy as np

from sweepflow.errors import ConfigError

Number = bool | int | float
WHOLE = np.dtype(np.int32)
"""What a program sees a whole number as."""
FRACTION = np.dtype(np.float64)
"""What a fraction is fed as; a program that computes with fewer digits rounds it itself, to the nearest."""


def plain_number(value: object) -> Number | None:
    """A NumPy scalar, an enumeration of numbers and the like as Python's own; None for what is no number."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else None


def type_of(value: Number) -> np.dtype:
    """What a number is fed to a program as."""
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    return WHOLE if isinstance(value, int) else FRACTION


def held(value: Number, dtype: np.dtype) -> Number | None:
    """The number that a type holds in a value's place.

    Args:
        value: Any number.
        dtype: The type; a fraction is for a floating one.

    Returns:
        The value itself, or the nearest fraction. None where it does not fit: it would be cut off, infinite,
        or so small that programs compute with 0 in its place (they flush what is below the normal numbers).
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
    """What fits a type, in words."""
    if dtype == np.bool_:
        return "true or false"
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return f"whole numbers from {limits.min} to {limits.max} ({dtype})"
    floating = ml_dtypes.finfo(dtype)
    smallest, largest = float(floating.smallest_normal), float(floating.max)
    return f"0, and sizes from {smallest:.3g} to {largest:.3g} ({dtype})"


def fitting(key: str, value: Number, dtype: np.dtype, do: str | None = None) -> Number:
    """What a type holds of a value; see `held`.

    Args:
        key: Its dotted key, for the error.
        value: The number.
        dtype: The type.
        do: What to do where it does not fit.

    Raises:
        ConfigError: where it does not fit.
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
    """Make sure that a program can count its steps.

    Args:
        key: What their number comes from, in dotted keys.
        steps: How many.

    Raises:
        ConfigError: where the count would begin again at its lowest number.
    """
    fitting(key, steps, WHOLE, "ask for fewer steps: programs count them in int32")


def fed(key: str, values: Sequence[Number]) -> np.ndarray:
    """The values of one traced field, of several trials, as they are fed to a program.

    Args:
        key: Its dotted key.
        values: All of one type.

    Raises:
        ConfigError: for one that does not fit.
    """
    dtype = type_of(values[0])
    return np.array([fitting(key, value, dtype) for value in values], dtype)
