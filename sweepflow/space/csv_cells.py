"""Tables as CSV: the values of cells, and the character that separates cells."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sweepflow.errors import DataError

NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
"""Pattern of a number, as Hydra reads numbers: 007 is text. A field of whole numbers converts it to 7, and a
text field keeps it."""
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
WORDS = {"true": True, "false": False, "True": True, "False": False, "null": None}
"""Cells that are not text: JSON's spelling, and the spelling of Python and pandas for truth values."""
_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
SEPARATORS = {";": "semicolon", "\t": "tab"}
"""Separators in addition to the comma. Spreadsheets write them where the comma is the decimal separator, and
on their clipboard."""


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a header and rows of cells, such as those of `cell_text`, as CSV."""
    return "".join(map(_line, [columns, *rows]))


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO(newline="")
    # Python quotes the characters that its own end of a line has, and readers take either for one.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def csv_rows(text: str, path: str, is_text: Callable[[str], bool]) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the header and the rows of CSV, separated by commas, semicolons or tabs; a row of empty cells has
    no keys.

    Args:
        text: The whole text of the file.
        path: Path of the file, for errors.
        is_text: Function that says whether a key takes text only. Cells of such a key are always text.

    Raises:
        DataError: for text that is no such table.
    """
    separator = _separator(text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(
            f"{path!r} cannot be read as CSV",
            got=str(error),
            allowed="a row of cells a line, those that hold a separator or a quote in quotes",
            do="save it as CSV in UTF-8",
        ) from None
    if not lines:
        raise DataError(f"{path!r} is empty", allowed="a header of dotted keys, then rows", do="add them")
    header = [name.strip() for name in lines[0][1]]
    rows: list[dict[str, Any]] = []
    for line, cells in lines[1:]:
        if not any(cell.strip() for cell in cells):
            rows.append({})
            continue
        if len(cells) != len(header):
            raise DataError(
                f"a row of {path!r} has another number of cells than the header",
                got=f"{len(cells)} cells in line {line}",
                allowed=f"{len(header)} cells: {', '.join(header)}",
                do=f"repair the line; quote cells that hold a {SEPARATORS.get(separator, 'comma')}",
            )
        row = {}
        for key, cell in zip(header, cells, strict=True):
            if not cell.strip():
                continue
            if separator in SEPARATORS and not is_text(key) and DECIMAL_COMMA.fullmatch(cell.strip()):
                raise DataError(
                    f"a number of {path!r} has a comma",
                    got=f"{key}: {cell.strip()}, in line {line}",
                    allowed=f"0.5 for a number; {json.dumps(json.dumps(cell.strip()))} for text",
                    do=f"save it with points, or write {cell.strip().replace(',', '.')}",
                )
            row[key] = _text(cell) if is_text(key) else cell_value(cell)
        rows.append(row)
    return header, rows


def _separator(text: str) -> str:
    """The separator of the names in the header: a dotted key contains none of these characters."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = [one for one in SEPARATORS if one in first]
    return "," if "," in first or not found else found[0]


def cell_text(value: Any) -> str:
    """The text of a value: a bare word if it is read back as the same string, else JSON."""
    if isinstance(value, str) and value.strip() and cell_value(value) == value:
        return value
    return _JSON(value)


def cell_value(cell: str) -> Any:
    """The value of a cell: JSON, a number in any usual spelling, or else the unchanged text."""
    text = cell.strip()
    if text in WORDS:
        return WORDS[text]
    if NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            return cell
        return int(text) if text.lstrip("+-").isdigit() else number
    return _quoted(cell) if text[:1] in ("[", "{", '"') else cell


def _text(cell: str) -> str | None:
    """The text of a cell of a key that takes text only; None for `null`."""
    text = cell.strip()
    if text == "null":
        return None
    found = _quoted(cell) if text[:1] == '"' else cell
    return found if isinstance(found, str) else cell


def _quoted(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell
