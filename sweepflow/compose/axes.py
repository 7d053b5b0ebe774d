"""Overrides in Hydra's grammar, each seen as an axis: a key with the values it takes in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.space import Distribution, distribution_of

Groups = Mapping[str, Sequence[str]]
"""Options of each configuration group."""


@dataclass(frozen=True)
class Axis:
    """One override.

    Attributes:
        key: Group name or dotted key.
        values: What it takes, in order; one value where it does not sweep.
        text: As it was typed.
        is_group: Whether the key is a group, whose values are names of files in it.
        sweeps: Whether it is written as a sweep, be it of one value.
        deletes: Whether it removes the key (`~key`).
    """

    key: str
    values: tuple[Any, ...]
    text: str
    is_group: bool
    sweeps: bool = False
    deletes: bool = False
    distribution: Distribution | None = None
    """What `interval(...)`, `choice(...)` and their tags ask to draw the value from."""


def parse_axes(overrides: Sequence[str], groups: Groups, *, distributions: bool = False) -> list[Axis]:
    """Parse overrides.

    Args:
        overrides: In Hydra's grammar.
        groups: Groups and their options.
        distributions: Whether intervals are welcome; an axis of one has no values.

    Raises:
        ConfigError: for text that is no override, an empty sweep, a value or a key given twice, an
            unknown group or option.
    """
    parser = OverridesParser.create()
    axes: dict[str, Axis] = {}
    for text in overrides:
        try:
            axis = _axis(parser.parse_override(text), text, groups, distributions)
        except HydraException as error:
            raise ConfigError(
                "this is not an override in Hydra's grammar",
                got=text,
                allowed="key=value, key=value,value, key=range(start,stop), group=option, +experiment=name",
                do=f"quote what has special characters; Hydra says: {str(error).splitlines()[0]}",
            ) from error
        if axis.key in axes:
            raise ConfigError(
                f"{axis.key} is given twice",
                got=f"{axes[axis.key].text} and {text}",
                do=f"give all its values in one override: {axis.key}=FIRST,SECOND",
            )
        axes[axis.key] = axis
    return list(axes.values())


def single_value(text: str, key: str) -> str | None:
    """What an override gives `key`, if it is one of that key and no sweep; None otherwise."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return None  # `parse_axes` says what is wrong with it
    if override.key_or_group != key or override.is_sweep_override() or override.value() is None:
        return None
    return str(override.value())


def _axis(override: Override, text: str, groups: Groups, distributions: bool) -> Axis:
    key = override.key_or_group
    is_group = key in groups
    drawn = distribution_of(override) if distributions and not is_group else None
    if override.type is OverrideType.DEL:
        return Axis(key, (None,), text, is_group, deletes=True)
    if override.is_interval_sweep():
        if drawn is not None:
            return Axis(key, (), text, is_group, sweeps=True, distribution=drawn)
        raise ConfigError(
            f"{key}: an interval is a distribution, not a list of values",
            got=text,
            allowed=f"{key}=1,2,3 or {key}=range(1,4)",
        )
    values: tuple[Any, ...]
    if override.value_type is not None and override.value_type.name == "GLOB_CHOICE_SWEEP":
        glob: Any = override.value()
        values = tuple(glob.filter(list(groups.get(key, ()))))
    elif override.is_sweep_override():
        values = tuple(_plain(value) for value in override.sweep_iterator())
    else:
        values = (override.value(),)
    if not values:
        raise ConfigError(
            f"{key}: this sweep has no values",
            got=text,
            allowed=", ".join(groups[key]) if is_group else "at least one value",
        )
    seen: list[Any] = []
    for value in values:
        if value in seen and type(value) is type(seen[seen.index(value)]):
            raise ConfigError(f"{key}: a value is given twice", got=text, do=f"remove one {value!r}")
        if len(values) <= 1000:  # the plan finds duplicates of longer lists, by fingerprint
            seen.append(value)
    if is_group:
        for value in values:
            if value not in groups[key]:
                raise ConfigError(
                    f"group {key!r} has no option {value!r}",
                    got=text,
                    allowed=", ".join(groups[key]),
                    do=did_you_mean(str(value), groups[key]),
                )
    return Axis(key, values, text, is_group, sweeps=override.is_sweep_override(), distribution=drawn)


def _plain(value: Any) -> Any:
    match value:
        case QuotedString():
            return value.text
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {_plain(k): _plain(v) for k, v in value.items()}
    return value
