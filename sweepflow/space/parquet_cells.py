"""Columns of Parquet that are read back exactly: columns of one type where possible, else columns of text.

The field's metadata stores the facts that a type cannot express. Pyarrow keeps the metadata with the column;
pandas drops it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sweepflow.space.csv_cells import cell_text, cell_value

NO_CELL = object()
"""Placeholder for a value that a row does not have."""
AS_CELLS = {b"sweepflow": b"cells"}
"""Mark of a column of lists, or of several types: its text is that of CSV cells."""
AS_JSON = {b"sweepflow": b"json"}
"""Mark of such a column in older files: its text is JSON, which is also valid text of cells."""
WITH_NULL = {b"sweepflow": b"null"}
"""Mark of a column whose empty cells mean null, not a missing value."""


def column_of(key: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """Make a column that `values_of` reads back as the same values.

    Args:
        key: Name of the column.
        values: Values that JSON can hold, or `NO_CELL`.

    Raises:
        ValueError, TypeError: for a value that JSON cannot hold.
    """
    given = [value for value in values if value is not NO_CELL]
    kinds = {type(value) for value in given if value is not None}
    has_null = None in given
    typed = len(kinds) <= 1 and kinds <= {bool, int, float, str} and not (has_null and NO_CELL in values)
    if kinds == {int}:
        typed &= all(value is None or abs(value) < 2**63 for value in given)
    if kinds == {float}:
        typed &= all(value is None or math.isfinite(value) for value in given)
    if typed:
        found = pa.array([None if value is NO_CELL else value for value in values])
        found = found if kinds else found.cast(pa.string())
        return pa.field(key, found.type, metadata=WITH_NULL if has_null else None), found
    texts = [None if value is NO_CELL else cell_text(value) for value in values]
    return pa.field(key, pa.string(), metadata=AS_CELLS), pa.array(texts, pa.string())


def values_of(field: pa.Field, column: pa.ChunkedArray) -> list[Any]:
    """The values of a column, written by any program; `NO_CELL` if a row has no value."""
    mark = (field.metadata or {}).items()
    missing = None if mark >= WITH_NULL.items() else NO_CELL
    read = cell_value if mark >= AS_CELLS.items() or mark >= AS_JSON.items() else _as_it_is
    return [missing if _is_empty(value) else read(value) for value in column.to_pylist()]


def _as_it_is(value: Any) -> Any:
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))  # pandas writes NaN
