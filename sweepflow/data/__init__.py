"""Data sets, each by one algorithm, described without drawing a row and loaded as NumPy arrays.

Nothing here imports JAX: a JAX operation outside the one compiled program would be compiled too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from sweepflow.data import bundled, deep_linear, file, mnist, potential, teacher_student
from sweepflow.data.dataset import Dataset, DataShape
from sweepflow.errors import DataError
from sweepflow.schema.data import DataConfig, FileData, MnistData, NormalCrossingData, QuadraticData

__all__ = ["DataShape", "Dataset", "check_fits", "describe", "load", "pin", "refuse_beyond"]

_DESCRIBE: dict[str, Callable[[Any], DataShape]] = {
    "teacher_student": teacher_student.describe,
    "deep_linear": deep_linear.describe,
    "normal_crossing": potential.describe,
    "quadratic": potential.describe,
    "bundled": bundled.describe,
    "file": file.describe,
    "mnist": mnist.describe,
}

_LOAD: dict[str, Callable[[Any], Dataset]] = {
    "teacher_student": teacher_student.load,
    "deep_linear": deep_linear.load,
    "normal_crossing": potential.load,
    "quadratic": potential.load,
    "bundled": bundled.load,
    "file": file.load,
    "mnist": mnist.load,
}


def describe(config: DataConfig) -> DataShape:
    """Return the shape that the program is compiled for, without drawing or reading rows if possible.

    Raises:
        DataError: for a data set that cannot be what the configuration asks for.
    """
    return _describe(config, _stamp(config))


def load(config: DataConfig) -> Dataset:
    """Return the rows; their arrays are shared between callers and read-only.

    Raises:
        DataError: as `describe`, and for what only the rows can show.
    """
    return _load(config, _stamp(config))


def pin(config: DataConfig) -> DataConfig:
    """Return the configuration with everything that decides its rows: a file's SHA-256 is filled in.

    Raises:
        DataError: for a file that cannot be read, or that changed since it was pinned.
    """
    match config:
        case FileData():
            return file.pin(config)
        case MnistData():
            return mnist.pin(config)
    return config


def check_fits(config: DataConfig, dtype: str) -> None:
    """Check that a program sees the rows of a file, and the coefficients of a potential, unchanged.

    Raises:
        DataError: for a value beyond the range of the type that is computed with.
    """
    if isinstance(config, (FileData, NormalCrossingData, QuadraticData)) and dtype != "float64":
        rows = load(config)
        refuse_beyond({"x": rows.x, "y": rows.y, "x_test": rows.x_test, "y_test": rows.y_test}, dtype)


def refuse_beyond(arrays: Mapping[str, np.ndarray], dtype: str) -> None:
    """Check that arrays of data fit a type.

    Raises:
        DataError: for a value beyond it.
    """
    limit = float(np.finfo(dtype).max)
    for name, array in arrays.items():
        largest = float(np.abs(array).max(initial=0))
        if largest > limit:
            raise DataError(
                "the data hold a number beyond the type that the program computes with",
                got=f"{largest:g} in {name}",
                allowed=f"up to {limit:.3g} ({dtype})",
                do="compute in dtype=float64, give the data in larger units, or standardize them",
            )


def _stamp(config: DataConfig) -> Hashable:
    """Part of the cache key, so that a file that changed is read again."""
    match config:
        case FileData():
            return file.stamp(config.path)
        case MnistData():
            return mnist.stamp(config.path)
    return None


@lru_cache(maxsize=2**15)
def _describe(config: DataConfig, _files: Hashable) -> DataShape:
    return _DESCRIBE[config.kind](config)


@lru_cache(maxsize=64)
def _load(config: DataConfig, _files: Hashable) -> Dataset:
    dataset = _LOAD[config.kind](config)
    for array in (dataset.x, dataset.y, dataset.x_test, dataset.y_test, dataset.truth):
        if array is not None:
            array.setflags(write=False)
    return dataset
