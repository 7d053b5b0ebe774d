"""Overrides in Hydra's grammar, each seen as an axis: a key with the values it takes in turn."""

from __future__ import annotations

import glob
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from hydra.core.override_parser.types import Glob, Override, OverrideType, Sweep

from sweepflow.compose.grammar import given_as, key_of, plain, quote, read, swept_values
from sweepflow.errors import ConfigError, nearest
from sweepflow.fingerprint import frozen
from sweepflow.space import Distribution, distribution_of

Groups = Mapping[str, Sequence[str]]
"""Options of each configuration group."""
TYPED = "typed"
"""The source of an override of the command line."""


@dataclass(frozen=True)
class Axis:
    """One override.

    Attributes:
        key: Dotted key, or group with its package: `db@source`.
        values: The values of the key, in order; one value where the override is no sweep.
        text: The override as it was typed.
        is_group: Whether the key is a group, whose values are names of files in it.
        parsed: The override as Hydra's parser returns it.
        sweeps: Whether the override is written as a sweep, even of a single value.
        deletes: Whether the override removes the key (`~key`).
        distribution: Distribution that the value is drawn from, given by `interval(...)`, `choice(...)` and
            their tags.
        source: `typed`, or `experiment NAME` for an override in `hydra.sweeper.params` of that file.
    """

    key: str
    values: tuple[Any, ...]
    text: str
    is_group: bool
    parsed: Override
    sweeps: bool = False
    deletes: bool = False
    distribution: Distribution | None = None
    source: str = TYPED

    @property
    def shown(self) -> str:
        """The text of the override, with its source unless it was typed."""
        return self.text + _whence(self.source)

    @property
    def overrides(self) -> list[Override]:
        """One override for each value; when it is read again, it gives that value."""
        return [self.parsed] if self.deletes else [given_as(self.parsed, value) for value in self.values]

    @property
    def texts(self) -> list[str]:
        """The texts of `overrides`."""
        return [str(override.input_line) for override in self.overrides]


def parse_axes(
    overrides: Sequence[str], groups: Groups, *, distributions: bool = False, source: str = TYPED
) -> list[Axis]:
    """Parse overrides.

    Args:
        overrides: Overrides in Hydra's grammar.
        groups: Groups and their options.
        distributions: Whether to accept intervals; the axis of an interval has no values.
        source: Source of the overrides.

    Raises:
        ConfigError: for text that is no override, an empty sweep, a value or a key given twice, an
            unknown group or option.
    """
    axes: dict[str, Axis] = {}
    for text in overrides:
        axis = _axis(read(text, _whence(source)), text, groups, distributions, source)
        if earlier := axes.get(axis.key):
            raise ConfigError(
                f"{axis.key} is given twice",
                got=f"{earlier.text} and {axis.shown}",
                allowed="each key once",
                do=f"give all its values in one override: {axis.key}=FIRST,SECOND",
            )
        axes[axis.key] = axis
    return list(axes.values())


def _axis(override: Override, text: str, groups: Groups, distributions: bool, source: str) -> Axis:
    key, said = key_of(override), text + _whence(source)
    is_group = _is_group(override, groups, said)
    options = groups[override.key_or_group] if is_group else ()
    if override.type is OverrideType.DEL:
        return Axis(key, (None,), text, is_group, override, deletes=True, source=source)
    drawn = distribution_of(override) if distributions and not is_group else None
    if drawn is None:  # else its tags have been looked at
        refuse_tags(override, _whence(source))
    if override.is_interval_sweep():
        if drawn is not None:
            return Axis(key, (), text, is_group, override, sweeps=True, distribution=drawn, source=source)
        raise ConfigError(
            f"{key}: an interval is a distribution, not a list of values",
            got=said,
            allowed=f"options of the group: {', '.join(options)}"
            if is_group
            else f"{key}=1,2,3 or {key}=range(1,4)",
            do=f"list the options: {key}=FIRST,SECOND"
            if is_group
            else "list the values; only sweepflow sweep draws from an interval",
        )
    value: Any = override.value()
    if isinstance(value, Glob):
        values: list[Any] = value.filter(list(options)) if is_group else files_of(value, said)
    elif override.is_sweep_override():
        values = list(map(plain, swept_values(override)))
    else:
        values = [value]
    if not values:
        raise ConfigError(
            f"{key}: this sweep has no values",
            got=said,
            allowed=", ".join(options) if is_group else "at least one value",
            do=f"write it like {key}={options[0] if options else 'FIRST,SECOND'}",
        )
    seen: set[Hashable] = set()
    for value in values:
        if frozen(value) in seen:
            raise ConfigError(
                f"{key}: a value is given twice",
                got=said,
                allowed="each value once",
                do=f"remove one {quote(value)}",
            )
        seen.add(frozen(value))
    if is_group:
        for value in values:
            if value not in options:
                raise ConfigError(
                    f"group {override.key_or_group!r} has no option {value!r}",
                    got=said,
                    allowed=", ".join(options),
                    do=did_you_mean_option("+" * text.startswith("+") + key, str(value), options),
                )
    sweeps = override.is_sweep_override()
    return Axis(key, tuple(values), text, is_group, override, sweeps, distribution=drawn, source=source)


def files_of(pattern: Glob, said: str) -> list[str]:
    """The files that a glob matches, sorted; for a key that is not a group.

    Raises:
        ConfigError: if no file matches.
    """
    found = {
        path
        for include in pattern.include
        for path in glob.glob(os.path.expanduser(include), recursive=True)
        if not any(fnmatch(path, os.path.expanduser(exclude)) for exclude in pattern.exclude)
    }
    if not found:
        raise ConfigError(
            f"{said.partition('=')[0].lstrip('+')}: this sweep has no values: no file matches",
            got=said,
            allowed=f"files below {os.getcwd()}, as the key is no group",
            do="check the pattern, or list the values: KEY=FIRST,SECOND",
        )
    return sorted(found)


def did_you_mean_option(group: str, name: str, options: Sequence[str]) -> str:
    """Advice for an unknown option: the override with the nearest option of the group, or how to find one."""
    match = nearest(name, options)
    return f"did you mean '{group}={match}'?" if match else f"write {group}=NAME with a name from above"


def _is_group(override: Override, groups: Groups, said: str) -> bool:
    """Return whether the override chooses or removes an option of a group."""
    group = override.key_or_group
    if override.package is not None and group not in groups:
        raise ConfigError(
            f"there is no group {group!r} that could go to the package {override.package!r}",
            got=said,
            allowed=", ".join(groups),
            do="for a value write its dotted key, PACKAGE.KEY=VALUE",
        )
    return group in groups


def refuse_tags(override: Override, whence: str = "") -> None:
    """Refuse tags that would have no effect.

    Raises:
        ConfigError: for a sweep that has tags.
    """
    value: Any = override.value()
    if isinstance(value, Sweep) and value.tags:
        raise ConfigError(
            f"{key_of(override)}: a tag says nothing here: {', '.join(sorted(value.tags))}",
            got=f"{override.input_line}{whence}",
            allowed="tag(log, interval(LOW, HIGH)), where values are drawn",
            do="remove the tag",
        )


def _whence(source: str) -> str:
    return "" if source == TYPED else f", from the {source}"
