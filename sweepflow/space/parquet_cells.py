"""Columns of Parquet that are read back as they were: of one type where they can be, and of text elsewhere.

What a type cannot say is in the field's metadata, which pyarrow keeps with the column; pandas drops it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from sweepflow.space.csv_cells import cell_text, cell_value

NO_CELL = object()
"""In the place of a value that a row does not have."""
AS_CELLS = {b"sweepflow": b"cells"}
"""Marks a column of lists, or of several types: its text is that of cells of CSV."""
AS_JSON = {b"sweepflow": b"json"}
"""Marks such a column in files of before: JSON, which cells are, too."""
WITH_NULL = {b"sweepflow": b"null"}
"""Marks a column whose empty cells are null, and not left out."""


def column_of(key: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """A column that `values_of` reads back as the same values.

    Args:
        key: Its name.
        values: As JSON holds them, or `NO_CELL`.

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
    """The values of a column, whoever wrote it; `NO_CELL` where a row has none."""
    mark = (field.metadata or {}).items()
    missing = None if mark >= WITH_NULL.items() else NO_CELL
    read = cell_value if mark >= AS_CELLS.items() or mark >= AS_JSON.items() else _as_it_is
    return [missing if _is_empty(value) else read(value) for value in column.to_pylist()]


def _as_it_is(value: Any) -> Any:
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))  # pandas writes NaN
