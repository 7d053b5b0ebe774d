"""Expand overrides of the `llc` flow: Hydra composes once for each choice of groups, and the values that vary
within it are set and validated without Hydra."""

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
"""Where and how a sweep runs: one value for the whole of it."""


def compose_llc(overrides: Sequence[str], config_dir: str | Path | None = None) -> list[LlcConfig]:
    """Every configuration that a command line of the `llc` flow asks for, validated.

    Args:
        overrides: In Hydra's grammar.
        config_dir: A directory of the user's own groups, searched besides the shipped one.

    Raises:
        ConfigError: before any work, naming what was wrong, what is allowed and the nearest name.
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
    """Refuse keys that no configuration of the flow has, and sweeps over where it runs.

    Raises:
        ConfigError: naming the nearest key.
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
