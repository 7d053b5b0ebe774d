"""Set the values that vary within one composed tree, without Hydra."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepflow.compose.axes import Axis
from sweepflow.errors import ConfigError


class Mandatory(NamedTuple):
    """What a value is that only the user can know, and one as it is typed."""

    words: str
    example: str


def vary(
    base: DictConfig,
    swept: Sequence[Axis],
    later: Collection[str] = (),
    mandatory: Mapping[str, Mandatory] | None = None,
) -> Iterator[dict[str, Any]]:
    """The composed tree with every combination of the swept values, as plain nested dicts.

    The dicts share what does not vary: set values in them with `assign`.

    Args:
        base: The composed tree.
        swept: Axes of values.
        later: Dotted keys that are set afterwards, and so may be missing.
        mandatory: What to say of keys that are missing, by dotted key.

    Raises:
        ConfigError: for a mandatory value that is missing, or an interpolation that cannot be resolved.
    """
    # An interpolation may depend on a swept key: only then is it resolved once a configuration.
    interpolates = "${" in OmegaConf.to_yaml(base) or any("${" in str(axis.values) for axis in swept)
    fixed: Any = None if interpolates else OmegaConf.to_container(base)
    if fixed is not None:
        _refuse_missing(base, {*later, *(axis.key for axis in swept)}, mandatory or {})
    for values in itertools.product(*[axis.values for axis in swept]):
        if fixed is None:
            yield _resolved(base, swept, values, later, mandatory or {})
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
    base: DictConfig,
    swept: Sequence[Axis],
    values: Sequence[Any],
    later: Collection[str],
    mandatory: Mapping[str, Mandatory],
) -> dict[str, Any]:
    try:
        for axis, value in zip(swept, values, strict=True):  # all of them each time, so no copy is needed
            OmegaConf.update(base, axis.key, value, force_add=True)
        _refuse_missing(base, later, mandatory)
        content: Any = OmegaConf.to_container(base, resolve=True)
        return content
    except OmegaConfBaseException as error:
        raise ConfigError(
            "an interpolation cannot be resolved",
            got=f"{error.full_key}: {str(error).splitlines()[0]}",
            allowed="keys that the chosen files or other overrides give",
            do="give the key that it points at, even where the default is wanted",
        ) from error


def _refuse_missing(base: DictConfig, given: Collection[str], mandatory: Mapping[str, Mandatory]) -> None:
    """Refuse keys that a file leaves to the command line with `???` and that nothing gives."""
    missing = sorted(OmegaConf.missing_keys(base) - set(given))
    if not missing:
        return
    known = {key: mandatory.get(key, Mandatory("a value; a file leaves it open", "...")) for key in missing}
    raise ConfigError(
        f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} to be given",
        got=" ".join(f"{key}=???" for key in missing),
        allowed="; ".join(f"{key}: {one.words}" for key, one in known.items()),
        do="add " + " ".join(f"{key}={one.example}" for key, one in known.items()),
    )
