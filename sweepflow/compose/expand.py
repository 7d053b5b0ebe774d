"""Expand overrides into configurations: Hydra composes once for each choice of groups, and the values
that vary within it are set and validated without Hydra."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError
from yaml import YAMLError  # type: ignore[import-untyped]

import sweepflow
from sweepflow.compose.axes import Axis, Groups, parse_axes
from sweepflow.compose.invalid import explain
from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.schema.llc import LlcConfig

CONF = Path(sweepflow.__file__).parent.parent / "conf"
"""Shipped beside the package, both in a checkout and where a wheel is installed."""

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
    return list(_expand("llc", overrides, config_dir))


def _expand(primary: str, overrides: Sequence[str], config_dir: str | Path | None) -> Iterator[LlcConfig]:
    own = None if config_dir is None else _directory(config_dir)
    extra = [] if own is None else [f"hydra.searchpath=[{_quote(f'file://{own}')}]"]
    with _hydra():
        groups = _groups(primary, own, extra)
        axes = parse_axes(overrides, groups)
        axes = _with_experiment(primary, axes, groups, extra)
        _refuse(axes)
        choices = [axis for axis in axes if axis.is_group]
        fixed = [axis for axis in axes if not axis.is_group and not axis.sweeps]
        swept = [axis for axis in axes if not axis.is_group and axis.sweeps]
        for chosen in itertools.product(*[axis.values for axis in choices]):
            groups_text = [
                axis.text if not axis.sweeps else f"{_prefix(axis)}{axis.key}={_quote(value)}"
                for axis, value in zip(choices, chosen, strict=True)
            ]
            base = _compose(primary, [*extra, *groups_text, *map(_forced, fixed)])
            yield from _vary(base, swept, axes)


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra on the shipped groups. A Hydra that the caller has initialised is put aside, and back."""
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = theirs


def _vary(base: DictConfig, swept: Sequence[Axis], axes: Sequence[Axis]) -> Iterator[LlcConfig]:
    # An interpolation may depend on a swept key: only then is it resolved once a configuration.
    interpolates = "${" in OmegaConf.to_yaml(base) or any("${" in str(axis.values) for axis in swept)
    fixed = None if interpolates else OmegaConf.to_container(base)
    if fixed is not None:
        for key in sorted(OmegaConf.missing_keys(base) - {axis.key for axis in swept}):
            raise _missing(key)
    for values in itertools.product(*[axis.values for axis in swept]):
        if fixed is None:
            content = _resolved(base, swept, values)
        else:
            assert isinstance(fixed, dict)
            content = dict(fixed)
            for axis, value in zip(swept, values, strict=True):
                _assign(content, axis.key.split("."), value)
        try:
            yield LlcConfig.model_validate(content)
        except ValidationError as error:
            raise explain(error, LlcConfig, axes) from error


def _assign(content: dict[Any, Any], path: list[str], value: Any) -> None:
    """Set a nested value, copying the dicts on the way: they are shared by all configurations."""
    for part in path[:-1]:
        child = content.get(part)
        content[part] = content = dict(child) if isinstance(child, Mapping) else {}
    content[path[-1]] = value


def _resolved(base: DictConfig, swept: Sequence[Axis], values: Sequence[Any]) -> Any:
    try:
        for axis, value in zip(swept, values, strict=True):  # all of them each time, so no copy is needed
            OmegaConf.update(base, axis.key, value, force_add=True)
        return OmegaConf.to_container(base, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise _missing(str(error.full_key)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(
            "an interpolation cannot be resolved",
            got=f"{error.full_key}: {str(error).splitlines()[0]}",
            allowed="keys that the chosen files or other overrides give",
            do="give the key that it points at, even where the default is wanted",
        ) from error


def _missing(key: str) -> ConfigError:
    return ConfigError(f"{key} has to be given", got=f"{key}=???", do=f"add {key}=...")


def _groups(primary: str, own: Path | None, extra: Sequence[str]) -> Groups:
    """Groups and their options, those in the user's own directory included."""
    loader = GlobalHydra.instance().config_loader()
    names = set(loader.list_groups("")) - {"hydra"}
    if own is not None:  # Hydra lists the options of its search path, but not the groups
        names |= {path.name for path in own.iterdir() if path.is_dir() and not path.name.startswith(".")}
    return {
        name: loader.get_group_options(name, ObjectType.CONFIG, config_name=primary, overrides=list(extra))
        for name in sorted(names)
    }


def _with_experiment(primary: str, axes: list[Axis], groups: Groups, extra: Sequence[str]) -> list[Axis]:
    """Add the sweep that an experiment file holds in `hydra.sweeper.params`; the command line wins."""
    experiment = next((axis for axis in axes if axis.key == "experiment"), None)
    if experiment is None:
        return axes
    if experiment.sweeps:
        raise ConfigError("one experiment at a time", got=experiment.text)
    config = _compose(primary, [*extra, f"+experiment={_quote(experiment.values[0])}"], hydra_too=True)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = {axis.key for axis in axes}
    texts = [f"{key}={value}" for key, value in params.items() if key.lstrip("+") not in given]
    return [*parse_axes(texts, groups), *axes]


def _refuse(axes: Sequence[Axis]) -> None:
    known = list(LlcConfig.model_fields)
    for axis in axes:
        top = axis.key.split(".")[0]
        if axis.is_group or top in known:
            if axis.sweeps and top in NOT_SWEPT:
                raise ConfigError(
                    f"{top} says where the sweep runs, so it cannot be swept",
                    got=axis.text,
                    allowed="one value",
                    do="start one sweep for each value",
                )
            continue
        raise ConfigError(
            f"there is no key or group {axis.key!r}",
            got=axis.text,
            allowed=", ".join(known) + ", +experiment",
            do=did_you_mean(top, [*known, "experiment"]),
        )


def _compose(primary: str, overrides: Sequence[str], hydra_too: bool = False) -> DictConfig:
    try:
        return hydra.compose(primary, list(overrides), return_hydra_config=hydra_too)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise ConfigError(
            "Hydra cannot compose this",
            got=" ".join(text for text in overrides if not text.startswith("hydra.searchpath=")),
            do=" ".join(str(error).split())[:500],
        ) from error


def _prefix(axis: Axis) -> str:
    return axis.text[: len(axis.text) - len(axis.text.lstrip("+"))]


def _forced(axis: Axis) -> str:
    """A value override that may name any key: the schema, not the YAML, says which keys there are."""
    return axis.text if axis.deletes else f"++{axis.text.lstrip('+')}"


def _quote(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if text.replace("_", "").replace("-", "").isalnum() else "'" + text.replace("'", "\\'") + "'"


def _directory(config_dir: str | Path) -> Path:
    path = Path(config_dir).expanduser().resolve()
    if not path.is_dir():
        raise ConfigError(
            "the configuration directory is not there",
            got=config_dir,
            allowed="a directory of groups, such as DIR/model/mine.yaml",
        )
    return path
