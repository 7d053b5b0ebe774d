"""Set the values that vary within one composed tree, without Hydra."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepflow.compose.axes import Axis
from sweepflow.errors import ConfigError


def vary(base: DictConfig, swept: Sequence[Axis], later: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """The composed tree with every combination of the swept values, as plain nested dicts.

    The dicts share what does not vary: set values in them with `assign`.

    Args:
        base: The composed tree.
        swept: Axes of values.
        later: Dotted keys that are set afterwards, and so may be missing.

    Raises:
        ConfigError: for a mandatory value that is missing, or an interpolation that cannot be resolved.
    """
    # An interpolation may depend on a swept key: only then is it resolved once a configuration.
    interpolates = "${" in OmegaConf.to_yaml(base) or any("${" in str(axis.values) for axis in swept)
    fixed: Any = None if interpolates else OmegaConf.to_container(base)
    if fixed is not None:
        for key in sorted(OmegaConf.missing_keys(base) - {axis.key for axis in swept} - set(later)):
            raise _missing(key)
    for values in itertools.product(*[axis.values for axis in swept]):
        if fixed is None:
            yield _resolved(base, swept, values, later)
        else:
            content = dict(fixed)
            for axis, value in zip(swept, values, strict=True):
                assign(content, axis.key.split("."), value)
            yield content


def assign(content: dict[Any, Any], path: Sequence[str], value: Any) -> None:
    """Set a nested value, copying the dicts on the way: they are shared by all configurations."""
    for part in path[:-1]:
        child = content.get(part)
        content[part] = content = dict(child) if isinstance(child, Mapping) else {}
    content[path[-1]] = value


def _resolved(
    base: DictConfig, swept: Sequence[Axis], values: Sequence[Any], later: Collection[str]
) -> dict[str, Any]:
    try:
        for axis, value in zip(swept, values, strict=True):  # all of them each time, so no copy is needed
            OmegaConf.update(base, axis.key, value, force_add=True)
        for key in sorted(OmegaConf.missing_keys(base) - set(later)):
            raise _missing(key)
        content: Any = OmegaConf.to_container(base, resolve=True)
        return content
    except OmegaConfBaseException as error:
        raise ConfigError(
            "an interpolation cannot be resolved",
            got=f"{error.full_key}: {str(error).splitlines()[0]}",
            allowed="keys that the chosen files or other overrides give",
            do="give the key that it points at, even where the default is wanted",
        ) from error


def _missing(key: str) -> ConfigError:
    return ConfigError(f"{key} has to be given", got=f"{key}=???", do=f"add {key}=...")
