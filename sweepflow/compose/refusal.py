"""Errors, in our words, for overrides that Hydra cannot apply to a composed tree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from sweepflow.compose.grammar import read
from sweepflow.compose.overlaps import holds
from sweepflow.errors import ConfigError, did_you_mean

UNFIT = (HydraException, OmegaConfBaseException, ValueError, TypeError)
"""Errors that applying an override may raise: OmegaConf passes on the errors of Python's lists."""
NOT_COMPOSED = (*UNFIT, YAMLError)
"""Errors that composing may raise: PyYAML's own error is raised for a file that is no YAML."""


def refusal(
    load: Callable[[list[str]], DictConfig], overrides: Sequence[str], groups: Collection[str]
) -> ConfigError | None:
    """The reason why overrides cannot be composed; None if no override of a value is the cause.

    Args:
        load: Function that lets Hydra compose overrides.
        overrides: Overrides of one value each.
        groups: Names of the groups, to tell overrides that choose an option from overrides of a value.
    """
    parsed = [read(text) for text in overrides]
    try:
        tree = load([str(one.input_line) for one in parsed if one.key_or_group in groups])
    except NOT_COMPOSED:
        return None
    removed: list[Override] = []
    for override in parsed:
        if override.key_or_group in groups:
            continue
        try:
            apply(override, tree)
        except UNFIT:
            return unfit(override, tree, removed)
        removed += [override] * override.is_delete()
    return None


def apply(override: Override, tree: DictConfig) -> None:
    """Set one value in a composed tree as Hydra does."""
    ConfigLoaderImpl._apply_overrides_to_config([override], tree)


def unfit(override: Override, tree: DictConfig, before: Sequence[Override] = ()) -> ConfigError | None:
    """The error for an override that cannot be applied; None if the problem is a key that does not exist.

    Args:
        override: An override of one value.
        tree: The tree that the override should have been applied to.
        before: Overrides that have already been applied.
    """
    key, shown = override.key_or_group, str(override.input_line).removeprefix("++")
    adds = override.is_add() or override.is_force_add()
    if found := _no_place(override, tree, shown):
        return found
    gone = next((o for o in before if o.is_delete() and holds(o.key_or_group, key)), None)
    if gone is not None and not adds:
        return ConfigError(
            f"{key} is to be changed, and {gone.key_or_group}, which holds it, is removed before",
            got=f"{gone.input_line} and {shown}",
            allowed="changes of keys that are there",
            do=f"leave {shown if override.is_delete() else gone.input_line} out"
            if override.is_delete() or key.removeprefix(f"{gone.key_or_group}.").split(".")[0].isdecimal()
            else f"leave {gone.input_line} out; or, for a new {gone.key_or_group} of this alone: +{shown}",
        )
    node = _node_at(tree, key.split("."))
    is_there = node is not None
    if override.is_delete() and is_there and node._is_none():
        return ConfigError(
            f"{key} is null, and Hydra removes only what has a value",
            got=shown,
            allowed="removing keys that have a value",
            do=f"leave {shown} out, or remove {key} from the configuration itself",
        )
    if override.is_delete() and is_there:
        return ConfigError(
            f"{key} is to be removed, and has another value than the one that is named",
            got=shown,
            allowed=f"~{key}, whatever its value is",
            do=f"write ~{key}",
        )
    if override.is_delete():
        known = sorted(keys_of(tree))
        return ConfigError(
            f"there is no key {key!r} that could be removed",
            got=shown,
            allowed=", ".join(known),
            do=did_you_mean(key, known),
        )
    if override.is_add() and is_there:
        return ConfigError(
            f"{key} is there already, and cannot be added",
            got=shown,
            allowed="a plus before keys that are not there",
            do=f"leave the plus out to change it: {shown.removeprefix('+')}",
        )
    return None


def _no_place(override: Override, tree: DictConfig, shown: str) -> ConfigError | None:
    """The error for a key that leads to an impossible place in a list; None if there is no such problem."""
    parts = override.key_or_group.split(".")
    for number, part in enumerate(parts):
        above, node = ".".join(parts[:number]), _node_at(tree, parts[:number])
        if not isinstance(node, ListConfig) or not isinstance(node._content, list):
            continue
        most = len(node)
        alone = number == len(parts) - 1 and (override.is_add() or override.is_delete())
        if alone or not part.isdecimal() or int(part) >= most:
            return ConfigError(
                f"{above} is a list, which an override cannot make longer or shorter"
                if alone
                else f"{above} is a list, and has no place {part}",
                got=f"{shown}, in a list of {most}",
                allowed=f"places from 0 to {most - 1}, as in {above}.0=VALUE"
                if most
                else "the whole list: it is empty",
                do=f"give the whole list: {above}=[FIRST,SECOND]",
            )
    return None


def _node_at(tree: DictConfig, parts: Sequence[str]) -> Any:
    """The node at a dotted key; None if there is none, or if the path leads through a computed value."""
    node: Any = tree
    for part in parts:
        content = getattr(node, "_content", None)
        if isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            node = content[int(part)]
        else:
            node = content.get(part) if isinstance(content, dict) else None
    return node


def keys_of(tree: DictConfig, above: str = "") -> Iterator[str]:
    """Dotted keys of all values, with the keys inside a mapping in its place; without Hydra's own keys."""
    for key in map(str, tree):
        if not above and key == "hydra":
            continue
        inner = None if OmegaConf.is_missing(tree, key) else tree._get_node(key)
        special = inner is None or inner._is_none() or inner._is_interpolation()
        if isinstance(inner, DictConfig) and not special and inner:
            yield from keys_of(inner, f"{above}{key}.")
        else:
            yield f"{above}{key}"
