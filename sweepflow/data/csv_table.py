"""Reader of a CSV of numbers with a header line; a cell that is not a number is an error."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from sweepflow.errors import DataError, did_you_mean

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Cells, in lower case, that mean that a number is missing."""

NO_LABEL = frozenset({"", "?"})
"""Cells that mean that a label is missing among names; `none` and `NA` are names like any other."""

EXACT = 2**53
"""Whole numbers below this are float64 numbers, all of them and no two the same."""

LARGEST = 1e150
"""Larger values are refused like infinities: their squares are not float64 numbers any more."""


def parse_csv(
    content: bytes, path: str, target_column: str | None, *, classify: bool
) -> tuple[Float[np.ndarray, "rows features"], np.ndarray]:
    """Return features and target of a comma-separated table.

    Args:
        content: The file's bytes, UTF-8.
        path: Path of the file, for errors.
        target_column: Name of the target column; None for the last column.
        classify: Whether the target holds class labels, which may be strings.

    Returns:
        x, float64 (rows, features), in the header's order; y (rows,), float64. If `classify`, y may also be
        strings (if not all labels are numbers) or Python integers (if some are beyond the exact float64
        integers).

    Raises:
        DataError: for bad text, a missing or doubtful header, an unknown target column, rows of uneven
            length, cells that are not numbers, and missing or infinite values, with line and column.
    """
    lines = _lines(content, path)
    _, header = next(lines, (0, []))
    names = _checked_header(header, path)
    target = _target_index(names, target_column, path)
    numeric = [i for i in range(len(names)) if not (classify and i == target)]

    numbers: list[list[float]] = []
    labels: list[str] = []
    line_numbers: list[int] = []
    for line, cells in lines:
        if len(cells) != len(names):
            raise DataError(
                f"a row of {path!r} has another number of cells than the header",
                got=f"{len(cells)} cells in line {line}",
                allowed=f"{len(names)} cells: {_shown(names)}",
                do="repair the line; quote cells that hold a comma",
            )
        try:
            numbers.append([_number(cells[i]) for i in numeric])
        except ValueError:
            _refuse_cell(cells, names, numeric, line, path)
        labels.append(cells[target].strip())
        line_numbers.append(line)

    table = np.array(numbers, dtype=np.float64).reshape(len(numbers), len(numeric))
    _refuse_bad_values(table, labels if classify else [], line_numbers, names, numeric, target, path)
    features = [at for at, i in enumerate(numeric) if i != target]
    y = _labels(labels) if classify else table[:, numeric.index(target)]
    return table[:, features], y


def _lines(content: bytes, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the non-empty rows, each with the number of the line on which it ends."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path!r} is not UTF-8 text",
            got=f"byte 0x{content[error.start]:02x} at position {error.start}",
            do="save the table as CSV in UTF-8",
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"{path!r} cannot be read as CSV", got=f"line {reader.line_num}: {error}", do="repair the line"
        ) from None


def _checked_header(header: Sequence[str], path: str) -> list[str]:
    names = [name.strip() for name in header]
    if not names:
        raise DataError(f"{path!r} is empty", allowed="a header line and at least 10 rows")
    if all(_is_number(name) for name in names):
        raise DataError(
            f"the first line of {path!r} is numbers, not column names",
            got=_shown(names),
            do="put a header line first, such as x1,x2,y",
        )
    if len(names) < 2:
        separator = next((mark for mark in (";", "\t") if mark in names[0]), None)
        raise DataError(
            f"{path!r} has a single column",
            got=_shown(names),
            allowed="at least one feature and one target column, separated by commas",
            do=f"separate cells by commas, not by {separator!r}" if separator else "add the other columns",
        )
    if "" in names:
        raise DataError(
            f"a column of {path!r} has no name",
            got=_shown(names),
            do="name it, or leave it out (pandas writes it for its index: to_csv(..., index=False))",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"columns of {path!r} share a name", got=_shown(repeated), do="rename them")
    return names


def _target_index(names: list[str], target_column: str | None, path: str) -> int:
    if target_column is None:
        return len(names) - 1
    if target_column not in names:
        raise DataError(
            f"{path!r} has no such target column",
            got=f"target_column={target_column!r}",
            allowed=_shown(names),
            do=did_you_mean(target_column, names),
        )
    return names.index(target_column)


def _number(cell: str) -> float:
    """Return the cell's number, or NaN for a missing one; raise ValueError for anything else."""
    if "_" in cell:
        raise ValueError(cell)  # Python reads 1_000 as a number; no other program does
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return math.nan
        raise


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(_number(cell))
    except ValueError:
        return False


def _labels(labels: list[str]) -> np.ndarray:
    if not all(_is_number(label) for label in labels):
        return np.array(labels)
    values = np.array([float(label) for label in labels], dtype=np.float64)
    if np.abs(values).max(initial=0) >= EXACT and (values == np.floor(values)).all():
        # Two of them may be one float64 number, and are two classes.
        return np.array([int(Decimal(label)) for label in labels], dtype=object)
    return values


def _no_labels(labels: list[str]) -> list[bool]:
    """Return which labels are missing.

    Among numbers, a label that is not a number is missing; among names, a label that cannot be a name.
    """
    numbers = [_is_number(label) for label in labels]
    if any(numbers) and all(n or _may_be_missing(label) for n, label in zip(numbers, labels, strict=True)):
        return [not number for number in numbers]
    return [label in NO_LABEL for label in labels]


def _may_be_missing(cell: str) -> bool:
    """Return whether a cell is not a number, but stands in place of one: missing, or infinite."""
    try:
        return not math.isfinite(_number(cell))
    except ValueError:
        return False


def _refuse_cell(cells: list[str], names: list[str], numeric: list[int], line: int, path: str) -> NoReturn:
    for i in numeric:
        try:
            _number(cells[i])
        except ValueError:
            raise DataError(
                f"a cell of {path!r} is not a number",
                got=f"{cells[i]!r} in line {line}, column {names[i]!r}",
                allowed="numbers; only the target of data.task=classification may be text",
                do="encode or drop the column, or name the target with data.target_column",
            ) from None
    raise AssertionError("called for a row whose cells are all numbers")


def _refuse_bad_values(
    table: np.ndarray,
    labels: list[str],
    line_numbers: list[int],
    names: list[str],
    numeric: list[int],
    target: int,
    path: str,
) -> None:
    """Raise DataError if a value is missing, infinite or too large; `labels` is empty for a regression."""
    bad = np.zeros((len(line_numbers), len(names)), dtype=bool)
    bad[:, numeric] = ~(np.abs(table) <= LARGEST)
    if labels:
        bad[:, target] = _no_labels(labels)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        columns = [names[i] for i in np.flatnonzero(bad.any(axis=0))]
        raise DataError(
            f"{path!r} has missing or infinite values",
            got=f"{bad.sum()} of {bad.size}, the first in line {line_numbers[row]}, "
            f"column {names[column]!r}; columns {_shown(columns)}",
            allowed=f"finite numbers up to {LARGEST:g} in every cell",
            do="fill them in or drop those rows; a class among numbers needs a name that says no such thing"
            if bad[:, target].any() and labels
            else "fill them in or drop those rows",
        )


def _shown(names: Sequence[str], at_most: int = 12) -> str:
    """Names for an error that has to fit one screen."""
    text = ", ".join(repr(name) for name in names[:at_most])
    return text if len(names) <= at_most else f"{text}, ... ({len(names)} in all)"
