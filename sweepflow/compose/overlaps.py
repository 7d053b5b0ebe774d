"""Overrides that overlap: of the same key, or of a key and a value that contains it. The later override wins,
as in Hydra. Two overrides that contradict each other are an error that names both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweepflow.compose.axes import Axis
from sweepflow.errors import ConfigError
from sweepflow.space import Space


def holds(outer: str, key: str) -> bool:
    """Return whether the value of the dotted key `outer` contains `key`."""
    return key.startswith(f"{outer}.")


def overlap(one: str, other: str) -> bool:
    """Return whether two dotted keys are the same, or one contains the other."""
    return one == other or holds(one, other) or holds(other, one)


def gives(axis: Axis, key: str) -> list[bool]:
    """Return, for each value of an override, whether it decides a key that the override's key contains: only
    mappings are merged with the existing value."""
    path = key.removeprefix(f"{axis.key}.").split(".")
    return [axis.deletes or says(value, path) for value in axis.values]


def settles(axis: Axis, key: str) -> bool:
    """Return whether an override decides a key whatever was set before: by itself, or as a part of its
    values."""
    return not axis.is_group and (axis.key == key or (holds(axis.key, key) and all(gives(axis, key))))


def late(axes: Sequence[Axis], changing: Sequence[Axis]) -> list[Axis]:
    """The overrides of values that cannot be set once for all configurations, in their order: the overrides
    that change between configurations, and later overrides that overlap with one of these."""
    found: list[Axis] = []
    for axis in axes:
        if not axis.is_group and (axis in changing or any(overlap(axis.key, one.key) for one in found)):
            found.append(axis)
    return found


def refuse_overlaps(axes: Sequence[Axis]) -> None:
    """Refuse overrides that contradict each other: a later override that makes values of a sweep alike.

    Raises:
        ConfigError: for two such overrides; it names both.
    """
    values = [axis for axis in axes if not axis.is_group]
    for place, earlier in enumerate(values):
        if not earlier.sweeps:
            continue
        apart = [assigned({}, earlier.key.split("."), value) for value in _possible(earlier)]
        for later in values[place + 1 :]:
            if overlap(earlier.key, later.key):
                apart = _still_apart(apart, earlier, later)


def _still_apart(trees: list[Any], earlier: Axis, later: Axis) -> list[Any]:
    """The values of a sweep after a later override."""
    after = trees
    for value in _possible(later):
        after = [assigned(tree, later.key.split("."), value) for tree in trees]
        if later.deletes or len(set(map(repr, after))) < len(trees):
            raise ConfigError(
                f"{earlier.key} is swept, and {later.key}, which comes later, takes its values away",
                got=f"{earlier.shown} and {later.shown}",
                allowed="a later override that leaves the values of the sweep apart",
                do=f"leave one of them out, or write {later.key} first",
            )
    return trees if later.sweeps else after


def refuse_parts_of_drawn(drawn: Collection[str], axes: Sequence[Axis]) -> None:
    """Refuse overrides of a part of a drawn value: drawn values are set last.

    Args:
        drawn: Dotted keys that are drawn.
        axes: The overrides.

    Raises:
        ConfigError: for such an override; it names both.
    """
    for axis in axes:
        for key in drawn:
            if holds(key, axis.key) and not axis.is_group:
                raise _at_odds(key, axis, axes)


def without_typed(space: Space | None, axes: Sequence[Axis]) -> Space | None:
    """A space without the keys that overrides give: overrides take precedence.

    Raises:
        ConfigError: for keys that are drawn as a whole and given in part.
    """
    drawn = [axis.key for axis in axes if axis.distribution is not None]
    keys = () if space is None else space.keys
    refuse_parts_of_drawn([*drawn, *keys], axes)
    given = set()
    for key in keys:
        for axis in axes:
            if axis.is_group or not (axis.key == key or holds(axis.key, key)):
                continue
            if axis.distribution is None and settles(axis, key):
                given.add(key)
            elif axis.key != key and (axis.distribution is not None or any(gives(axis, key))):
                raise _at_odds(key, axis, axes)
    return None if space is None else space.without(given)


def _at_odds(drawn: str, given: Axis, axes: Sequence[Axis]) -> ConfigError:
    other = next((axis.shown for axis in axes if axis.key == drawn), f"the space draws {drawn}")
    return ConfigError(
        f"{drawn} is drawn, and {given.key} is given: they cannot both hold",
        got=f"{given.shown}, and {other}",
        allowed="keys that do not hold each other",
        do=f"leave one of them out, or give {drawn} itself",
    )


def value_at(content: Any, key: str) -> Any:
    """The value of nested dicts and lists at a dotted key; None if there is no value."""
    for part in key.split("."):
        if isinstance(content, list | tuple) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            content = content.get(part) if isinstance(content, Mapping) else None
    return content


def assigned(content: Any, path: Sequence[str], value: Any, *, whole: bool = False) -> Any:
    """A copy of nested dicts and lists with a value at a path; the copy shares all other content.

    Args:
        content: The nested dicts and lists.
        path: Keys; a number is an index of a list.
        value: The value; a mapping is merged with an existing mapping, as in Hydra.
        whole: Whether a mapping replaces an existing mapping instead.

    Raises:
        ConfigError: for an index that a list does not have.
    """
    if not path:
        if whole or not (isinstance(content, Mapping) and isinstance(value, Mapping)):
            return value
        merged = dict(content)
        for key, inner in value.items():
            merged[key] = assigned(merged.get(key), (), inner)
        return merged
    head, *rest = path
    if isinstance(content, list | tuple):
        items = list(content)
        if not head.isdecimal() or int(head) >= len(items):
            raise ConfigError(
                "a list has no such place",
                got=f"{'.'.join(path)}={value!r}, in a list of {len(items)}",
                allowed=f"places from 0 to {len(items) - 1}" if items else "the whole list: it is empty",
                do="give the whole list: KEY=[1,2]",
            )
        items[int(head)] = assigned(items[int(head)], rest, value, whole=whole)
        return items
    copied = dict(content) if isinstance(content, Mapping) else {}
    copied[head] = assigned(copied.get(head), rest, value, whole=whole)
    return copied


def says(value: Any, path: Sequence[str]) -> bool:
    """Return whether a value replaces everything at a path within it: only mappings are merged."""
    for part in path:
        if not isinstance(value, Mapping):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _possible(axis: Axis) -> Collection[Any]:
    """The values of an axis; for an interval without levels, two placeholders."""
    if axis.distribution is None:
        return axis.values
    return axis.distribution.levels() or ("lower", "higher")
