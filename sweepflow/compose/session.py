"""Hydra's own composition, for one command: groups, experiments, one composed tree for a choice of groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

import sweepflow
from sweepflow.compose.axes import Axis, Groups, parse_axes
from sweepflow.errors import ConfigError

CONF = Path(sweepflow.__file__).parent.parent / "conf"
"""Shipped beside the package, both in a checkout and where a wheel is installed."""


@dataclass(frozen=True)
class Session:
    """One command's view of the configuration files.

    Attributes:
        primary: Name of the primary file.
        groups: Groups and their options, those in the user's own directory included.
        search: Overrides that put the user's own directory on Hydra's search path.
    """

    primary: str
    groups: Groups
    search: tuple[str, ...]

    def compose(self, overrides: Sequence[str], hydra_too: bool = False) -> DictConfig:
        """One composed tree.

        Raises:
            ConfigError: where Hydra cannot, with what it says.
        """
        try:
            return hydra.compose(self.primary, [*self.search, *overrides], return_hydra_config=hydra_too)
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            raise ConfigError(
                "Hydra cannot compose this",
                got=" ".join(overrides),
                do=" ".join(str(error).split())[:500],
            ) from error

    def with_experiment(self, axes: list[Axis], *, distributions: bool = False) -> list[Axis]:
        """Add the sweep that an experiment file holds in `hydra.sweeper.params`; the command line wins."""
        experiment = next((axis for axis in axes if axis.key == "experiment"), None)
        if experiment is None:
            return axes
        if experiment.sweeps:
            raise ConfigError("one experiment at a time", got=experiment.text)
        config = self.compose([f"+experiment={quote(experiment.values[0])}"], hydra_too=True)
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        given = {axis.key for axis in axes}
        texts = [f"{key}={value}" for key, value in params.items() if key.lstrip("+") not in given]
        return [*parse_axes(texts, self.groups, distributions=distributions), *axes]


@contextmanager
def session(primary: str, config_dir: str | Path | None) -> Iterator[Session]:
    """Hydra on the shipped groups and the user's own; one that the caller has initialised is put aside, and
    back.

    Raises:
        ConfigError: where the user's directory is not there.
    """
    own = None if config_dir is None else _directory(config_dir)
    search = () if own is None else (f"hydra.searchpath=[{quote(f'file://{own}')}]",)
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            yield Session(primary, _groups(primary, own, search), search)
    finally:
        GlobalHydra.instance().hydra = theirs


def _groups(primary: str, own: Path | None, search: Sequence[str]) -> Groups:
    loader = GlobalHydra.instance().config_loader()
    names = set(loader.list_groups("")) - {"hydra"}
    if own is not None:  # Hydra lists the options of its search path, but not the groups
        names |= {path.name for path in own.iterdir() if path.is_dir() and not path.name.startswith(".")}
    return {
        name: loader.get_group_options(name, ObjectType.CONFIG, config_name=primary, overrides=list(search))
        for name in sorted(names)
    }


def choice_text(axis: Axis, value: object) -> str:
    """The override that takes one option of a group axis."""
    if not axis.sweeps:
        return axis.text
    plus = axis.text[: len(axis.text) - len(axis.text.lstrip("+"))]
    return f"{plus}{axis.key}={quote(value)}"


def forced_text(axis: Axis) -> str:
    """A value override that may name any key: the schema, not the YAML, says which keys there are."""
    return axis.text if axis.deletes else f"++{axis.text.lstrip('+')}"


def quote(value: object) -> str:
    """A value as Hydra's grammar reads it back."""
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
