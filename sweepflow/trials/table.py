"""The rows of a table of configurations, matched with the keys of a workload and with typed overrides.

A typed override takes precedence over a column of the same key, as it does over a space. A typed group
(`model=small`) is chosen first, and columns of keys within it apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from sweepflow.compose.axes import TYPED, Axis
from sweepflow.compose.overlaps import assigned, gives, holds, value_at
from sweepflow.compose.trials import TrialsRequest
from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.report.numbers import counted
from sweepflow.report.trials.tables import SETTING
from sweepflow.schema.bounds import options_of
from sweepflow.space import read_table
from sweepflow.space.table import NUMBER

MOST_NUMBERS = 5
"""Maximum number of blank rows that a note names."""


@dataclass(frozen=True)
class ConfigurationTable:
    """The configurations that a table asks for.

    Attributes:
        rows: Values by dotted key, a key before the keys within it, without the typed columns; by the number
            of the row.
        notes: Notes on the typed columns, the blank rows, and the rows that are the defaults.
        within: Typed keys that lie within a column.
    """

    rows: Mapping[int, Mapping[str, Any]]
    notes: Sequence[str]
    within: Sequence[tuple[str, Axis]]

    def at(self, row: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row at a point of the grid: typed keys within its columns have the point's values."""
        found = dict(row)
        for column, axis in self.within:
            if column not in row:
                continue
            value, path = found[column], axis.key.removeprefix(f"{column}.").split(".")
            if not isinstance(value, Mapping):
                raise ConfigError(
                    "a typed key lies within a column whose value has no keys",
                    got=f"{axis.shown}, and {column}={value} in the table",
                    do="remove one of them",
                )
            found[column] = assigned(value, path, value_at(point, axis.key), whole=True)
        return found


def configuration_table(request: TrialsRequest, path: Path) -> ConfigurationTable:
    """Read a table for a request.

    Raises:
        ConfigError: for a table that cannot be read, a column that is not a key of the workload, and a column
            that an experiment sweeps.
    """
    kind = request.workload.config_type
    table = read_table(path, lambda column: takes_only_text(kind, _key(column, kind)))
    names = {column: _key(column, kind) for row in table.rows.values() for column in row}
    columns, known = list(dict.fromkeys(names.values())), kind.model_fields
    if twice := [column for column, key in names.items() if column != key and key in names]:
        raise ConfigError(
            f"the table has the key {names[twice[0]]!r} in two columns",
            got=f"{twice[0]} and {names[twice[0]]} of {path}",
            allowed="one of them",
            do=f"remove {names[twice[0]]} where it is a result, and not the setting",
        )
    if unknown := [key for key in columns if key.split(".")[0] not in known]:
        several = len(unknown) > 1
        raise ConfigError(
            f"the table has {'columns that are no keys' if several else 'a column that is no key'} of the "
            f"workload: {', '.join(map(repr, unknown))}",
            got=str(path),
            allowed=", ".join(known),
            do="remove the columns of results"
            if several
            else did_you_mean(unknown[0], known) + ", or remove the column",
        )
    rows = {number: {names[c]: value for c, value in row.items()} for number, row in table.rows.items()}
    typed = {column: axis for axis in request.axes for column in columns if _replaces(axis, column)}
    for column, axis in typed.items():
        if axis.source != TYPED:
            raise ConfigError(
                f"{column} is swept by the {axis.source}, and is a column of the table",
                got=f"{axis.text} and --from {path}",
                do=f"remove the column, or give {column} on the command line, which wins over both",
            )
    notes = [f"{axis.text}, as typed, in place of the column {column}" for column, axis in typed.items()]
    notes += [f"row {i} of {path} has no keys: it is the defaults" for i, row in rows.items() if not row]
    if table.blank:
        notes.append(_skipped(table.blank, path))
    kept = sorted((column for column in columns if column not in typed), key=lambda key: key.count("."))
    return ConfigurationTable(
        rows={
            number: {column: row[column] for column in kept if column in row} for number, row in rows.items()
        },
        notes=notes,
        within=[
            (column, axis)
            for axis in request.axes
            for column in kept
            if holds(column, axis.key) and not axis.is_group and axis.source == TYPED
        ],
    )


def _key(column: str, kind: type[BaseModel]) -> str:
    """Return the key of a column; reports write `setting_NAME` for a key named like a column of results."""
    key = column.removeprefix(SETTING)
    known = kind.model_fields
    return key if column.split(".")[0] not in known and key.split(".")[0] in known else column


def _skipped(blank: Sequence[int], path: Path) -> str:
    which = ", ".join([*map(str, blank[:MOST_NUMBERS]), *(["…"] if len(blank) > MOST_NUMBERS else [])])
    said = f"{counted(len(blank), 'blank row')} of {path} {'is' if len(blank) == 1 else 'are'} skipped"
    return (
        f"{said} ({which}); a trial of the defaults has one of their values, or a number in a column {NUMBER}"
    )


def _replaces(axis: Axis, column: str) -> bool:
    """Return whether an override replaces a column: it gives the same key, or a value that contains it."""
    if axis.source != TYPED and not axis.sweeps:
        return False  # what a file says, the table overrides
    if axis.key == column:
        return True
    # A mapping is merged with what is there: the column holds beside what it gives.
    return not axis.is_group and holds(axis.key, column) and any(gives(axis, column))


def takes_only_text(kind: Any, key: str) -> bool:
    """Return whether a dotted key of a configuration accepts text, and no numbers or truth values.

    Args:
        kind: A type of configurations, or of a part of one.
        key: Dotted key.
    """
    options = options_of(kind)
    if not key:
        texts = [one for one in options if one is not type(None)]
        return bool(texts) and all(map(_is_text, texts))
    name, _, rest = key.partition(".")
    inner: list[Any] = []
    for one in options:
        if isinstance(one, type) and issubclass(one, BaseModel) and name in one.model_fields:
            inner.append(one.model_fields[name].annotation)
        elif get_origin(one) is dict:
            inner.append(get_args(one)[1])
    return bool(inner) and all(takes_only_text(one, rest) for one in inner)


def _is_text(option: Any) -> bool:
    if get_origin(option) is Literal:
        return all(isinstance(value, str) for value in get_args(option))
    return isinstance(option, type) and issubclass(option, (str, PurePath))
