"""Overrides in Hydra's grammar, each seen as an axis: a key with the values it takes in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from sweepflow.errors import ConfigError, nearest
from sweepflow.space import Distribution, distribution_of

Groups = Mapping[str, Sequence[str]]
"""Options of each configuration group."""
TYPED = "typed"
"""The source of an override of the command line."""


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
        distribution: What `interval(...)`, `choice(...)` and their tags ask to draw the value from.
        source: `typed`, or `experiment NAME` where that file's `hydra.sweeper.params` have it.
    """

    key: str
    values: tuple[Any, ...]
    text: str
    is_group: bool
    sweeps: bool = False
    deletes: bool = False
    distribution: Distribution | None = None
    source: str = TYPED

    @property
    def shown(self) -> str:
        """Its text, and where that is from unless it was typed."""
        return _shown(self.text, self.source)


def parse_axes(
    overrides: Sequence[str], groups: Groups, *, distributions: bool = False, source: str = TYPED
) -> list[Axis]:
    """Parse overrides.

    Args:
        overrides: In Hydra's grammar.
        groups: Groups and their options.
        distributions: Whether intervals are welcome; an axis of one has no values.
        source: Where the overrides are from.

    Raises:
        ConfigError: for text that is no override, an empty sweep, a value or a key given twice, an
            unknown group or option.
    """
    parser = OverridesParser.create()
    axes: dict[str, Axis] = {}
    for text in overrides:
        try:
            axis = _axis(parser.parse_override(text), text, groups, distributions, source)
        except HydraException as error:
            raise ConfigError(
                "this is not an override in Hydra's grammar",
                got=_shown(text, source),
                allowed="key=value, key=value,value, key=range(start,stop), group=option, +experiment=name",
                do=f"quote what has special characters; Hydra says: {str(error).splitlines()[0]}",
            ) from error
        if axis.key in axes:
            raise ConfigError(
                f"{axis.key} is given twice",
                got=_shown(f"{axes[axis.key].text} and {text}", source),
                allowed="each key once",
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


def _axis(override: Override, text: str, groups: Groups, distributions: bool, source: str) -> Axis:
    key = override.key_or_group
    is_group = key in groups
    said = _shown(text, source)
    drawn = distribution_of(override) if distributions and not is_group else None
    if override.type is OverrideType.DEL:
        return Axis(key, (None,), text, is_group, deletes=True, source=source)
    if override.is_interval_sweep():
        if drawn is not None:
            return Axis(key, (), text, is_group, sweeps=True, distribution=drawn, source=source)
        raise ConfigError(
            f"{key}: an interval is a distribution, not a list of values",
            got=said,
            allowed=f"options of the group: {', '.join(groups[key])}"
            if is_group
            else f"{key}=1,2,3 or {key}=range(1,4)",
            do=f"list the options: {key}=FIRST,SECOND"
            if is_group
            else "list the values; only sweepflow sweep draws from an interval",
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
            got=said,
            allowed=", ".join(groups[key]) if is_group else "at least one value",
            do=f"write it like {key}={groups[key][0] if is_group and groups[key] else 'FIRST,SECOND'}",
        )
    seen: list[Any] = []
    for value in values:
        if value in seen and type(value) is type(seen[seen.index(value)]):
            raise ConfigError(
                f"{key}: a value is given twice",
                got=said,
                allowed="each value once",
                do=f"remove one {value!r}",
            )
        if len(values) <= 1000:  # the plan finds duplicates of longer lists, by fingerprint
            seen.append(value)
    if is_group:
        for value in values:
            if value not in groups[key]:
                raise ConfigError(
                    f"group {key!r} has no option {value!r}",
                    got=said,
                    allowed=", ".join(groups[key]),
                    do=did_you_mean_option("+" * text.startswith("+") + key, str(value), groups[key]),
                )
    sweeps = override.is_sweep_override()
    return Axis(key, values, text, is_group, sweeps=sweeps, distribution=drawn, source=source)


def did_you_mean_option(group: str, name: str, options: Sequence[str]) -> str:
    """The override that takes the nearest option of a group, or how to find one."""
    match = nearest(name, options)
    return f"did you mean '{group}={match}'?" if match else f"write {group}=NAME with a name from above"


def _shown(text: str, source: str) -> str:
    return text if source == TYPED else f"{text}, from the {source}"


def _plain(value: Any) -> Any:
    match value:
        case QuotedString():
            return value.text
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {_plain(k): _plain(v) for k, v in value.items()}
    return value
