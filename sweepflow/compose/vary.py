"""Set the values that vary within one composed tree, without Hydra."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweepflow.compose.axes import Axis
from sweepflow.compose.overlaps import assigned, settles
from sweepflow.errors import ConfigError


class Mandatory(NamedTuple):
    """Description and example of a value that only the user can know; the example is as it is typed."""

    words: str
    example: str


class Point(dict[str, Any]):
    """A configuration as nested dicts.

    Attributes:
        unresolved: The same configuration with its interpolations, which may refer to values that are set
            later; None if there are no interpolations.
    """

    unresolved: dict[str, Any] | None = None

    @classmethod
    def of(cls, content: dict[str, Any], drawn: Collection[str], mandatory: Mapping[str, Mandatory]) -> Point:
        """Resolve a configuration that has interpolations."""
        point = cls(_resolved(content, drawn, mandatory))
        point.unresolved = content
        return point

    def with_drawn(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with drawn values set, by dotted key; interpolations that refer to them follow.

        Raises:
            ConfigError: for an interpolation that cannot be resolved.
        """
        content: Any = self if self.unresolved is None or not drawn else self.unresolved
        for key, value in drawn.items():
            content = assigned(content, key.split("."), value, whole=True)
        if content is self or self.unresolved is None:
            return dict(content)
        resolved = _resolved(content, (), {})
        return {key: resolved[key] for key in {**self, **dict.fromkeys(k.split(".")[0] for k in drawn)}}


def vary(
    base: DictConfig,
    later: Sequence[Axis],
    drawn: Collection[str] = (),
    mandatory: Mapping[str, Mandatory] | None = None,
) -> Iterator[Point]:
    """The composed tree with every combination of the values of `later`, as plain nested dicts. The dicts
    share the content that does not vary.

    Args:
        base: The composed tree.
        later: Overrides of values, set in their order as Hydra sets them.
        drawn: Dotted keys that are set afterwards, and so may be missing.
        mandatory: Description and example for the error about a missing key, by dotted key.

    Raises:
        ConfigError: for a mandatory value that is missing, or an interpolation that cannot be resolved.
    """
    # An interpolation may depend on a swept key: only then is it resolved once a configuration.
    interpolates = "${" in OmegaConf.to_yaml(base) or any("${" in str(axis.values) for axis in later)
    if not interpolates:
        given = {key for key in OmegaConf.missing_keys(base) if any(settles(axis, key) for axis in later)}
        _refuse_missing(base, {*drawn, *given}, mandatory or {})
    fixed: Any = OmegaConf.to_container(base)
    for values in itertools.product(*[axis.values for axis in later]):
        content = fixed
        for axis, value in zip(later, values, strict=True):
            content = assigned(content, axis.key.split("."), value)
        yield Point.of(content, drawn, mandatory or {}) if interpolates else Point(content)


def _resolved(content: Any, drawn: Collection[str], mandatory: Mapping[str, Mandatory]) -> dict[str, Any]:
    try:
        tree = OmegaConf.create(content)
        _refuse_missing(tree, drawn, mandatory)
        resolved: Any = OmegaConf.to_container(tree, resolve=True)
        return resolved
    except OmegaConfBaseException as error:
        raise ConfigError(
            "an interpolation cannot be resolved",
            got=f"{error.full_key}: {str(error).splitlines()[0]}",
            allowed="keys that the chosen files or other overrides give",
            do="give the key that it points at, even where the default is wanted",
        ) from error


def _refuse_missing(base: DictConfig, given: Collection[str], mandatory: Mapping[str, Mandatory]) -> None:
    """Refuse keys that a file leaves to the command line with `???` and that have no value."""
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
