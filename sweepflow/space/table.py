"""Designs as files, with one row for each sample and one column for each dotted key.

The suffix selects CSV, Parquet, JSON or YAML. Written values are read back exactly, types included. A key
that a row leaves out is an empty cell in CSV and Parquet, and is absent in JSON and YAML. A row of empty
cells is no sample, because spreadsheets write such rows. If a sample has no keys, a column of its own numbers
the rows.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import yaml  # type: ignore[import-untyped]

from sweepflow.errors import ConfigError, DataError
from sweepflow.space.csv_cells import cell_text, csv_rows, csv_text
from sweepflow.space.parquet_cells import NO_CELL, column_of, values_of
from sweepflow.storage.atomic import write_bytes

IsText = Callable[[str], bool]
"""Function that returns whether a dotted key takes text only."""
Found = Sequence[dict[str, Any] | None]
"""Rows of a file; None for a blank row."""

Rows = Sequence[Mapping[str, Any]]
NUMBER = "#"
"""Column of the rows' numbers, which is no key. A row with a number is a sample, even if all its other cells
are empty."""


@dataclass(frozen=True)
class TableRows:
    """The content of a table.

    Attributes:
        rows: Values by dotted key, by row number from 1; keys with empty cells are omitted.
        blank: Numbers of the rows that are no samples: all of their cells are empty.
    """

    rows: Mapping[int, dict[str, Any]]
    blank: Sequence[int]


def write_table(path: Path | str, rows: Rows) -> None:
    """Write a design.

    Args:
        path: Path with the suffix .csv, .parquet, .json, .yaml or .yml.
        rows: Values by dotted key.

    Raises:
        ConfigError: for another suffix, no rows, or values that a file cannot hold.
        StoreError: if the file cannot be written.
    """
    path = Path(path)
    write, _ = _format(path)
    if not any(rows):
        raise ConfigError(
            "a table without values cannot be read again",
            got=f"{len(rows)} rows without a key for {path}",
            allowed="at least one row with a key",
            do="draw some",
        )
    try:
        content = write(rows)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "a value cannot be written to a table",
            got=str(error),
            allowed="finite numbers, strings, true, false, null, lists and mappings of them",
            do="replace it",
        ) from None
    write_bytes(path, content)


def columns_of(path: Path | str) -> set[str]:
    """The columns of a table that have a value in some row.

    Raises:
        ConfigError, DataError: as for `read_table`.
    """
    return {column for row in read_table(path, lambda key: True).rows.values() for column in row}


def read_table(path: Path | str, is_text: IsText = lambda key: False) -> TableRows:
    """Read a table of configurations, written by any program.

    Args:
        path: Path with the suffix .csv, .parquet, .json, .yaml or .yml. The separator of CSV may also be a
            semicolon or a tab.
        is_text: Function that says whether a key takes text only: a CSV cell `007`, `1e5` or `true` of such a
            key is text.

    Returns:
        The rows. The caller must check that their keys are keys of the workload.

    Raises:
        ConfigError: for another suffix.
        DataError: for a file that does not exist or does not have the format of its suffix, no rows, a column
            without a name or given twice, rows of another length than the header, and values other than
            numbers, text, truth values, null, or lists and mappings of them.
    """
    path = Path(path)
    _, read = _format(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            "there is no such table", got=path, do=f"write one: sweepflow samples ... -o {path.name}"
        ) from None
    except OSError as error:
        raise DataError(
            "the table cannot be read", got=f"{path}: {error.strerror}", do="mend its permissions or the path"
        ) from None
    found = read(content, str(path), is_text)
    blank = [number for number, row in enumerate(found, 1) if row is None]
    rows = {number: row for number, row in enumerate(found, 1) if row is not None}
    for number, row in rows.items():
        for key, value in row.items():
            _check_value(value, f"{key} in row {number} of {str(path)!r}")
    if not rows:
        raise DataError(
            f"{str(path)!r} has no rows",
            got=f"{len(blank)} rows of empty cells" if blank else "0 rows",
            allowed="one row for each configuration",
            do="add some",
        )
    return TableRows(rows, blank)


def _write_csv(rows: Rows) -> bytes:
    rows = _numbered(rows)
    columns = _columns(rows)
    cells = ([cell_text(row[key]) if key in row else "" for key in columns] for row in rows)
    return csv_text(columns, cells).encode()


def _read_csv(content: bytes, path: str, is_text: IsText) -> Found:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path!r} cannot be read as CSV",
            got=str(error),
            allowed="UTF-8 text",
            do="save it as CSV in UTF-8",
        ) from None
    header, rows = csv_rows(text, path, is_text)
    _check_header(header, path)
    return _samples(rows)


def _numbered(rows: Rows) -> Rows:
    """The rows; with row numbers if one is empty, because it would look like a spreadsheet's blank row."""
    if any(NUMBER in row for row in rows):
        raise ValueError(f"{NUMBER!r} is no key, but the column of the rows' numbers")
    return rows if all(rows) else [{NUMBER: number, **row} for number, row in enumerate(rows, 1)]


def _samples(rows: Rows) -> Found:
    """Rows without their numbers; None for rows in which every cell is empty."""
    return [{key: value for key, value in row.items() if key != NUMBER} if row else None for row in rows]


def _check_value(value: Any, where: str) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case float() if math.isfinite(value):
            return
        case list() | tuple():
            for item in value:
                _check_value(item, where)
            return
        case dict():
            for item in value.values():
                _check_value(item, where)
            return
    raise DataError(
        f"{where} is nothing that a configuration holds",
        got=f"{value!r}, of type {type(value).__name__}",
        allowed="finite numbers, text, true, false, null, lists and mappings of them",
        do="write it as text or as a number",
    )


def _check_header(header: Sequence[str], path: str) -> None:
    if "" in header:
        raise DataError(
            f"a column of {path!r} has no name",
            got=", ".join(map(repr, header)),
            allowed="dotted keys, such as learning_rate or model.widths",
            do="name it, or leave it out (pandas writes it for its index: to_csv(..., index=False))",
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(
            f"{path!r} has a column twice", got=", ".join(repeated), allowed="each key once", do="remove one"
        )


def _write_json(rows: Rows) -> bytes:
    lines = ",\n".join(_json(row) for row in rows)
    return f"[\n{lines}\n]\n".encode()


def _read_json(content: bytes, path: str, is_text: IsText) -> Found:
    del is_text  # JSON says of itself what is text
    try:
        return _mappings(json.loads(content, object_pairs_hook=_once), path)
    except ValueError as error:
        raise DataError(
            f"{path!r} cannot be read as JSON",
            got=str(error),
            allowed="[{KEY: VALUE, ...}, ...]",
            do="mend it",
        ) from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make a mapping of these pairs.

    Raises:
        ValueError: for a key that occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return found


class _Yaml(yaml.SafeLoader):  # type: ignore[misc]
    """YAML loader with the plain scalars of YAML 1.2: 1e-4 is a number, and 010, 1:30, yes and 2024-01-01 are
    text. PyYAML follows version 1.1, where these texts are 8, 90, true and a date."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        """See PyYAML; a key that occurs twice is refused."""
        pairs = [
            (self.construct_object(key, deep), self.construct_object(value, deep))
            for key, value in node.value
        ]
        return _once(pairs)


for _tag, _spelling, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[+-]?(0|[1-9]\d*)", list("+-0123456789")),
    ("float", r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?\.inf|\.nan", list("+-.0123456789")),
):
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_spelling})$"), _first)


_UNFIT_FOR_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _write_yaml(rows: Rows) -> bytes:
    # JSON is YAML, and quotes every string: no word turns into a number or a truth value on its way back. But
    # PyYAML refuses some characters, and takes others for the end of a line.
    lines = (_UNFIT_FOR_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", _json(row)) for row in rows)
    return "".join(f"- {line}\n" for line in lines).encode()


def _read_yaml(content: bytes, path: str, is_text: IsText) -> Found:
    del is_text
    try:
        return _mappings(yaml.load(content, _Yaml), path)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise DataError(
            f"{path!r} cannot be read as YAML", got=str(error), allowed="a list of mappings", do="mend it"
        ) from None


def _write_parquet(rows: Rows) -> bytes:
    rows = _numbered(rows)
    columns = [column_of(key, [row.get(key, NO_CELL) for row in rows]) for key in _columns(rows)]
    schema = pa.schema([field for field, _ in columns])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([array for _, array in columns], schema=schema), sink)
    return sink.getvalue().to_pybytes()


def _read_parquet(content: bytes, path: str, is_text: IsText) -> Found:
    del is_text
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path!r} cannot be read as Parquet", got=str(error).splitlines()[0], do="write it anew"
        ) from None
    _check_header(table.column_names, path)
    rows: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
    for field, column in zip(table.schema, table.columns, strict=True):
        for row, value in zip(rows, values_of(field, column), strict=True):
            if value is not NO_CELL:
                row[field.name] = value
    return _samples(rows)


def _columns(rows: Rows) -> list[str]:
    """All keys, in the order of their first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _mappings(value: Any, path: str) -> Found:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(
            f"{path!r} is no list of configurations",
            got=repr(value),
            allowed="a list of mappings of dotted keys to values",
            do="put each configuration in a mapping of its own",
        )
    return [{str(key): cell for key, cell in row.items()} for row in value]


Format = tuple[Callable[[Rows], bytes], Callable[[bytes, str, IsText], Found]]
FORMATS: dict[str, Format] = {
    ".csv": (_write_csv, _read_csv),
    ".parquet": (_write_parquet, _read_parquet),
    ".json": (_write_json, _read_json),
    ".yaml": (_write_yaml, _read_yaml),
    ".yml": (_write_yaml, _read_yaml),
}


def _format(path: Path) -> Format:
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            "a table's suffix says its format",
            got=path,
            allowed=", ".join(FORMATS),
            do=f"name it {path.with_suffix('.csv').name}" if path.name else "name a file",
        )
    return FORMATS[path.suffix.lower()]
