"""The user's own data: an `.npz` with arrays `x` and `y`, or a CSV with a header line."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sweepflow.data.csv_table import parse_csv
from sweepflow.data.dataset import Dataset, DataShape, check_pinned
from sweepflow.data.labels import class_indices
from sweepflow.data.npz_arrays import parse_npz
from sweepflow.data.split import split_rows, split_sizes, standardize
from sweepflow.errors import DataError
from sweepflow.schema.data import FileData

FEWEST_ROWS = 10

Stamp = tuple[int, int, int]
"""Time of the last change, size and inode: while they stay the same, the content that was read is valid."""


@dataclass(frozen=True, eq=False)
class Table:
    """All rows of a file, before the split.

    Attributes:
        x: float64, (rows, *input_shape).
        y: float64, (rows, outputs); for classification (rows,) class indices.
        output_dim: Target columns, or classes.
        sha256: SHA-256 of the bytes that were read.
    """

    x: np.ndarray
    y: np.ndarray
    output_dim: int
    sha256: str


def describe(config: FileData) -> DataShape:
    """Return the shape. This reads the file (once, while the file does not change).

    Raises:
        DataError: for a file that is missing, unreadable, changed since it was pinned or holds no usable
            table, and for a split that leaves no training or no test row.
    """
    table = _pinned_table(config)
    n, n_test = split_sizes(len(table.x), config.test_fraction)
    return DataShape(
        task=config.task,
        n=n,
        n_test=n_test,
        input_shape=table.x.shape[1:],
        output_dim=table.output_dim,
    )


def load(config: FileData) -> Dataset:
    """Read and split the file's rows, and standardise them if `standardize` is set.

    Columns of a table are standardised one by one; arrays of higher rank, such as images, as a whole.
    Regression targets are standardised by column.

    Raises:
        DataError: as `describe`.
    """
    shape = describe(config)
    table = _pinned_table(config)
    train, test = split_rows(len(table.x), config.test_fraction, config.seed)
    x, x_test, y, y_test = table.x[train], table.x[test], table.y[train], table.y[test]
    if config.standardize:
        x, x_test = standardize(x, x_test, per_feature=x.ndim == 2)
        if config.task == "regression":
            y, y_test = standardize(y, y_test)
    return Dataset(shape=shape, x=x, y=y, x_test=x_test, y_test=y_test)


def pin(config: FileData) -> FileData:
    """Return the same configuration with the SHA-256 of the file's bytes, so that its content is its
    identity.

    Raises:
        DataError: for a file that cannot be read, or that changed since it was pinned.
    """
    sha256 = _sha256(config.path, stamp(config.path))
    check_pinned(config, sha256)
    return config.model_copy(update={"sha256": sha256})


def stamp(path: str) -> Stamp:
    """Return a stamp that shows cheaply whether a file is still the one that was read.

    Raises:
        DataError: if there is no regular file.
    """
    try:
        status = os.stat(Path(path).expanduser())
    except FileNotFoundError:
        raise DataError(
            f"there is no data file {path!r}",
            got=f"data.path={path!r}, looked for at {Path(path).expanduser().absolute()}",
            do="check the spelling; a relative path starts at the directory the command runs in",
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            f"{path!r} is {'a directory' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}",
            got=f"data.path={path!r}",
            allowed="a file that ends in .npz or .csv",
            do="name one file",
        )
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(
        f"the data file {path!r} cannot be read",
        got=getattr(error, "strerror", None) or error,
        do="check its permissions and its path",
    )


def _bytes(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


@lru_cache(maxsize=64)
def _sha256(path: str, _stamp: Stamp) -> str:
    return hashlib.sha256(_bytes(path)).hexdigest()


def _pinned_table(config: FileData) -> Table:
    table = _table(config.path, stamp(config.path), config.target_column, config.task == "classification")
    check_pinned(config, table.sha256)
    return table


@lru_cache(maxsize=4)
def _table(path: str, _stamp: Stamp, target_column: str | None, classify: bool) -> Table:
    """Read and check the file; because of the cache, a sweep over seeds does not read it for each seed."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".npz", ".csv"):
        raise DataError(
            f"{path!r} is of no known format",
            got=f"suffix {suffix!r}",
            allowed=".npz (arrays x and y) or .csv (a header line, numbers)",
            do="convert the file, or rename it if it is one of these",
        )
    if suffix == ".npz" and target_column is not None:
        raise DataError(
            "data.target_column is for CSV files; an .npz has its target in array 'y'",
            got=f"target_column={target_column!r} with {path!r}",
            do="leave data.target_column out",
        )
    content = _bytes(path)
    if suffix == ".npz":
        x, y = parse_npz(content, path, classify=classify)
        where = f"array 'y' of {path!r}"
    else:
        x, y = parse_csv(content, path, target_column, classify=classify)
        where = f"column {target_column!r} of {path!r}" if target_column else f"the last column of {path!r}"
    if len(x) < FEWEST_ROWS:
        raise DataError(
            f"{path!r} has too few rows",
            got=f"{len(x)} rows",
            allowed=f"{FEWEST_ROWS} rows or more",
        )
    sha256 = hashlib.sha256(content).hexdigest()
    if classify:
        indices, classes = class_indices(y, where)
        return Table(x, indices, classes, sha256)
    y = y[:, None] if y.ndim == 1 else y
    return Table(x, y, y.shape[1], sha256)
