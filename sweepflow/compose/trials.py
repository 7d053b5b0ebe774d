"""Compose overrides of the `sweep` flow: a workload, the points of a grid, and a space for drawn values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from pydantic import Field, ValidationError

from sweepflow.compose.axes import Axis, did_you_mean_option, parse_axes
from sweepflow.compose.grammar import key_of, read
from sweepflow.compose.invalid import explain
from sweepflow.compose.llc import refuse
from sweepflow.compose.origins import A_REPEAT, A_TABLE, Source
from sweepflow.compose.overlaps import late, refuse_overlaps, value_at, without_typed
from sweepflow.compose.session import NoSuchGroupError, Session, composed_once, session
from sweepflow.compose.vary import Mandatory, Point, vary
from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config
from sweepflow.schema.name import SweepName
from sweepflow.schema.runner import LocalRunner, RunnerConfig, default_store
from sweepflow.space import Space
from sweepflow.space.table import columns_of
from sweepflow.workloads import SweepWorkload, load_workload
from sweepflow.workloads.load import is_importable

PRIMARY = "sweep"
DEFAULT = "digits_mlp"
"""The option of the group `workload` that the primary file chooses."""
OWN = "function"
"""Option of the group `workload` that stands for a module of the user."""


MANDATORY = {
    "command": {
        "command": Mandatory("a program with its first arguments", "'python train.py'"),
        "metrics": Mandatory("names that the program prints, each as METRIC name=value", "[val_loss]"),
    }
}
"""Keys that shipped files leave open, by workload."""


class SweepSettings(Config):
    """The keys of a composed tree that say how the sweep runs; no trial's configuration has them."""

    workload: str
    space: dict[str, Any] | None = None
    runner: RunnerConfig = LocalRunner()
    store: str = Field(default_factory=default_store, min_length=1)
    name: SweepName | None = None


@dataclass(frozen=True)
class TrialsRequest:
    """The request of a command line, before anything is drawn.

    Attributes:
        workload: The workload that every trial runs.
        points: The grid's points: one configuration each, as plain nested dicts, not validated.
        grid: Dotted keys in which the points differ.
        space: The space that values are drawn from for every point; None if nothing is drawn.
        settings: How the sweep runs.
        axes: The overrides, for errors in their words.
        option: The chosen option of the group `workload`.
        own: The workload's path if it is the user's own, else None.
        left_open: Dotted keys without a value in the files (`???`) that are drawn or in the table.
    """

    workload: SweepWorkload[Any]
    points: list[Point]
    grid: tuple[str, ...]
    space: Space | None
    settings: SweepSettings
    axes: Sequence[Axis]
    option: str
    own: str | None
    left_open: Collection[str] = ()

    def config(self, point: Point, drawn: Mapping[str, Any], table: str | None = None) -> Any:
        """One validated configuration: a point with drawn values set in it.

        Args:
            point: One of `points`.
            drawn: Values by dotted key, from the space, the repeats or a table.
            table: The table and row of the values, such as `samples.csv, row 3`, for errors.

        Raises:
            ConfigError: in the words of the override that caused it.
        """
        content = point.with_drawn(drawn)
        if lacking := [key for key in self.left_open if value_at(content, key) == MISSING]:
            raise ConfigError(
                f"every trial has to be given {' and '.join(lacking)}",
                got=f"none in {table}" if table else "a sample for which the space draws none",
                allowed="a value that is typed, drawn, or in every row of the table",
                do=f"add {lacking[0]}=VALUE, or leave such trials out",
            )
        try:
            return self.workload.config_type.model_validate(content)
        except ValidationError as error:
            sources = {key: self._source(key, table) for key in drawn}
            raise explain(error, self.workload.config_type, self.axes, sources) from error

    def _source(self, key: str, table: str | None) -> Source:
        """The source of a value that was set in a point."""
        asked = next((axis for axis in self.axes if axis.key == key and axis.distribution is not None), None)
        if asked is not None:
            return Source(f"drawn from {asked.shown}", asked.text)
        if self.space is not None and key in self.space.keys:
            chosen = next((axis for axis in self.axes if axis.key == "space" and axis.is_group), None)
            name = f"the space {chosen.values[0]}" if chosen else "the space"
            return Source(f"drawn from {name}", name)
        if self.space is not None:
            return A_REPEAT
        return A_TABLE if table is None else Source(f"from the table {table}", "the table", yields=False)


def compose_trials(
    overrides: Sequence[str], config_dir: str | Path | None = None, table: Path | None = None
) -> TrialsRequest:
    """Compose the request of a command line of the `sweep` flow.

    Args:
        overrides: Overrides in Hydra's grammar. Values of `interval(...)` and `choice(...)` are drawn; other
            sweeps are a grid.
        config_dir: A directory of the user's own groups, searched in addition to the shipped one.
        table: A table of configurations; its columns may give values that the files leave open.

    Raises:
        ConfigError: before any work; it names the problem, the allowed values and the nearest name.
    """
    with session(PRIMARY, config_dir) as hydra:
        own, overrides = _own_workload(overrides, hydra)
        axes = hydra.with_experiment(
            parse_axes(overrides, hydra.groups, distributions=True), distributions=True
        )
        refuse_overlaps(axes)
        choices = [axis for axis in axes if axis.is_group]
        given = [axis for axis in axes if axis.distribution is None]
        later = late(given, [axis for axis in given if axis.sweeps])
        drawn = {axis.key: axis.distribution for axis in axes if axis.distribution is not None}
        for axis in axes:
            top = axis.key.split(".")[0]
            one = len(axis.values) == 1 if axis.is_group else not axis.sweeps
            if top in ("workload", "space", "runner") and not one:
                raise ConfigError(
                    f"one {top} a sweep",
                    got=axis.shown,
                    allowed="one value",
                    do=f"start one sweep for each {top}",
                )
        points: list[Point] = []
        set_afterwards = {*drawn, *(() if table is None else columns_of(table))}
        left_open: set[str] = set()
        settings: SweepSettings | None = None
        for once in composed_once(given, later):
            try:
                base = hydra.compose(once)
            except NoSuchGroupError as error:
                raise _without_group(error, hydra, axes, own) from error
            if own is not None:
                OmegaConf.update(base, "workload", own, force_add=True)
            mandatory = MANDATORY.get(str(OmegaConf.select(base, "workload")))
            for content in vary(base, later, set_afterwards, mandatory):
                left_open |= {key for key in set_afterwards if value_at(content, key) == MISSING}
                found = {key: content.pop(key) for key in SweepSettings.model_fields if key in content}
                settings = settings or _settings(found, axes)
                points.append(content)
    assert settings is not None  # a product of non-empty axes has at least one point
    workload = load_workload(settings.workload)
    option = next((str(axis.values[0]) for axis in choices if axis.key == "workload"), DEFAULT)
    _refuse_reserved(workload)
    refuse(axes, [*workload.config_type.model_fields, *SweepSettings.model_fields])
    space = Space.of(settings.space) if settings.space else None
    space = without_typed(space, axes)
    if drawn:
        space = space.replaced(drawn) if space else Space.of({"parameters": drawn})
    swept_groups = [axis.parsed.package or axis.key for axis in choices if len(axis.values) > 1]
    return TrialsRequest(
        workload=workload,
        points=points,
        grid=(*swept_groups, *(axis.key for axis in later if axis.sweeps)),
        space=space,
        settings=settings,
        axes=axes,
        option=option,
        own=own,
        left_open=sorted(left_open),
    )


def _own_workload(overrides: Sequence[str], hydra: Session) -> tuple[str | None, list[str]]:
    """The user's own workload, or None, and the overrides with the option that stands for that workload."""
    options = [option for option in hydra.groups["workload"] if option != OWN]
    own, replaced = None, []
    for text in overrides:
        override = read(text)
        value = override.value()
        chooses = key_of(override) == "workload" and not override.is_sweep_override()
        if chooses and value is not None and str(value) not in options:
            value = str(value)
            if not is_importable(value):
                raise ConfigError(
                    f"there is no workload {value!r}",
                    got=text,
                    allowed=", ".join(options) + ", or a module path, or a .py file",
                    do=did_you_mean_option("workload", value, options),
                )
            own, text = value, f"workload={OWN}"
        replaced.append(text)
    return own, replaced


def _without_group(
    error: NoSuchGroupError, hydra: Session, axes: Sequence[Axis], own: str | None
) -> ConfigError:
    """The error for a group that the workload does not have, with the workload's keys; else the given
    error."""
    if error.elsewhere or error.group not in hydra.groups or error.group == "experiment":
        return error
    chosen = next((axis for axis in axes if axis.is_group and axis.key == "workload"), None)
    base = hydra.compose([] if chosen is None else chosen.texts)
    workload = load_workload(own or str(base.workload))
    keys = list(workload.config_type.model_fields)
    return ConfigError(
        f"the workload {workload.name!r} has no group {error.group!r}",
        got=next((axis.shown for axis in axes if axis.key == error.group), error.got),
        allowed=f"its keys: {', '.join(keys)}",
        do="leave it out, or take a workload that has it",
    )


def _settings(found: Mapping[str, Any], axes: Sequence[Axis]) -> SweepSettings:
    try:
        return SweepSettings.model_validate({k: v for k, v in found.items() if v is not None})
    except ValidationError as error:
        raise explain(error, SweepSettings, axes) from error


def _refuse_reserved(workload: SweepWorkload[Any]) -> None:
    taken = sorted(set(workload.config_type.model_fields) & set(SweepSettings.model_fields))
    if taken:
        raise ConfigError(
            f"the workload's configuration has a field that the sweep needs: {', '.join(taken)}",
            got=workload.path,
            allowed=f"any names but {', '.join(SweepSettings.model_fields)}",
            do="rename the field",
        )
