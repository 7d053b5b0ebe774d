"""Expand overrides of the `llc` flow: Hydra composes once for each choice of groups. The values that vary
within a choice are set and validated without Hydra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from sweepflow.compose.axes import Axis, parse_axes
from sweepflow.compose.invalid import explain
from sweepflow.compose.overlaps import late, refuse_overlaps
from sweepflow.compose.session import composed_once, session
from sweepflow.compose.vary import vary
from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.schema.llc import LlcConfig

NOT_SWEPT = ("runner", "store", "name")
"""Keys that say where and how a sweep runs; each has one value for the whole sweep."""


def compose_llc(overrides: Sequence[str], config_dir: str | Path | None = None) -> list[LlcConfig]:
    """Every configuration that a command line of the `llc` flow asks for, validated.

    Args:
        overrides: Overrides in Hydra's grammar.
        config_dir: A directory of the user's own groups, searched in addition to the shipped one.

    Raises:
        ConfigError: before any work; it names the problem, the allowed values and the nearest name.
    """
    return list(_expand(overrides, config_dir))


def _expand(overrides: Sequence[str], config_dir: str | Path | None) -> Iterator[LlcConfig]:
    with session("llc", config_dir) as hydra:
        hydra.refuse_foreign(overrides)
        axes = hydra.with_experiment(parse_axes(overrides, hydra.groups))
        refuse(axes, list(LlcConfig.model_fields))
        refuse_overlaps(axes)
        later = late(axes, [axis for axis in axes if axis.sweeps])
        for once in composed_once(axes, later):
            for content in vary(hydra.compose(once), later):
                try:
                    yield LlcConfig.model_validate(content)
                except ValidationError as error:
                    raise explain(error, LlcConfig, axes) from error


def refuse(axes: Sequence[Axis], known: Sequence[str]) -> None:
    """Refuse keys that no configuration of the flow has, and sweeps over the keys of `NOT_SWEPT`.

    Raises:
        ConfigError: for such a key or sweep; for an unknown key it names the nearest one.
    """
    for axis in axes:
        top = axis.key.split(".")[0]
        if axis.is_group or top in known:
            if axis.sweeps and top in NOT_SWEPT:
                raise ConfigError(
                    f"{top} says where the sweep runs, so it cannot be swept",
                    got=axis.shown,
                    allowed="one value",
                    do="start one sweep for each value",
                )
            continue
        raise ConfigError(
            f"there is no key or group {axis.key!r}",
            got=axis.shown,
            allowed=", ".join(known) + ", +experiment",
            do=did_you_mean(top, [*known, "experiment"]),
        )
