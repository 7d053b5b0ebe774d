"""Hydra's own composition, for one command: groups, experiments, one composed tree for a choice of groups."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
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


ONE_AT_A_TIME = threading.RLock()
"""Hydra's state is global to the process."""
OTHER = {"llc": "sweep", "sweep": "llc"}
"""The command that has the groups that a command lacks; primary files are named like commands."""
NO_DEFAULT = re.compile(
    r"(?:In '(?P<file>[^']+)': )?Could not override '(?P<group>[^']+)'. No match in the defaults list"
)
"""How Hydra says that an option was asked for of a group that nothing has chosen an option of."""


class NoSuchGroupError(ConfigError):
    """An option of a group that nothing has chosen an option of, so that there is none to replace."""

    group = ""
    elsewhere = False
    """Whether another command has the group."""


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
            said = " ".join(str(error).split())[:500]
            if found := NO_DEFAULT.match(said):
                raise self._not_chosen(found["group"], overrides, found["file"]) from error
            raise ConfigError(
                f"Hydra cannot compose this: {said}",
                got=" ".join(overrides),
                allowed=f"files that Hydra can read, and options of the groups {', '.join(self.groups)}",
                do="mend the file or the override that it names",
            ) from error

    def options(self, group: str) -> list[str]:
        """Options of a group, of whatever source."""
        return _options(group, self.primary, self.search)

    def refuse_foreign(self, overrides: Sequence[str]) -> None:
        """Refuse groups that only another command has.

        Raises:
            ConfigError: with that command.
        """
        for text in overrides:
            group = text.partition("=")[0]
            if group in self.groups and group in _chosen_by(OTHER[self.primary]) - _chosen_by(self.primary):
                raise self._not_chosen(group, overrides)

    def _not_chosen(self, group: str, overrides: Sequence[str], file: str | None = None) -> NoSuchGroupError:
        """An error for a group that nothing of this command has an option of."""
        other, own = OTHER[self.primary], ", ".join(sorted(_chosen_by(self.primary)))
        asks = f"{file} asks for {group!r}: " if file else ""
        text = next((text for text in overrides if text.partition("=")[0] == group), group)
        elsewhere = group in _chosen_by(other) - _used_by(self.primary)
        if elsewhere:
            if other == "sweep":
                do = (
                    f"use: sweepflow sweep {shlex.join(overrides)} --dry-run, and without --dry-run to run it"
                )
            else:
                wanted = shlex.join(overrides if file else [text])
                do = f"leave it out, or use: sweepflow {other} {wanted}"
            what = f"{asks}{group} is a group of `sweepflow {other}`, and `sweepflow {self.primary}` has none"
        else:
            what = f"{asks}there is no option of the group {group!r} that this one could replace"
            do = f"mend {file}" if file else f"to add it where there is none, write a plus: +{text}"
        error = NoSuchGroupError(
            what, got=" ".join(overrides), allowed=f"the groups {own}, +experiment=NAME", do=do
        )
        error.group, error.elsewhere = group, elsewhere
        return error

    def with_experiment(self, axes: list[Axis], *, distributions: bool = False) -> list[Axis]:
        """Add the sweep that an experiment file holds in `hydra.sweeper.params`; the command line wins."""
        experiment = next((axis for axis in axes if axis.key == "experiment"), None)
        if experiment is None:
            return axes
        if experiment.sweeps:
            raise ConfigError(
                "one experiment at a time",
                got=experiment.text,
                allowed=f"one of {', '.join(self.groups['experiment'])}",
                do="start one sweep for each experiment",
            )
        name = experiment.values[0]
        config = self.compose([f"+experiment={quote(name)}"], hydra_too=True)
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        given = {axis.key for axis in axes}
        texts = [f"{key}={value}" for key, value in params.items() if key.lstrip("+") not in given]
        source = f"experiment {name}"
        return [*parse_axes(texts, self.groups, distributions=distributions, source=source), *axes]


@contextmanager
def session(primary: str, config_dir: str | Path | None) -> Iterator[Session]:
    """Hydra on the shipped groups and the user's own; one that the caller has initialised is put aside, and
    back.

    Raises:
        ConfigError: where the user's directory is not there.
    """
    own = None if config_dir is None else _directory(config_dir)
    search = () if own is None else (f"hydra.searchpath=[{quote(f'file://{own}')}]",)
    with ONE_AT_A_TIME:
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
    return {name: _options(name, primary, search) for name in sorted(names)}


def _options(group: str, primary: str, search: Sequence[str]) -> list[str]:
    loader = GlobalHydra.instance().config_loader()
    if not search and isinstance(loader, ConfigLoaderImpl):  # else Hydra copies all that it knows, each time
        return loader.repository.get_group_options(group, ObjectType.CONFIG)
    return loader.get_group_options(group, ObjectType.CONFIG, config_name=primary, overrides=list(search))


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


@cache
def _chosen_by(primary: str) -> frozenset[str]:
    """Groups that a shipped primary file chooses an option of."""
    defaults = OmegaConf.load(CONF / f"{primary}.yaml").defaults
    return frozenset(str(key) for item in defaults if not isinstance(item, str) for key in item)


def _used_by(primary: str) -> set[str]:
    """Those, and the ones that options of theirs choose in turn: workloads have data and models."""
    chosen = _chosen_by(primary)
    files = [file for group in chosen for file in (CONF / group).glob("*.yaml")]
    trees = [OmegaConf.to_container(OmegaConf.load(file)) for file in files]
    lines = [line for tree in trees if isinstance(tree, dict) for line in tree.get("defaults", [])]
    return {*chosen, *(str(key).lstrip("/") for line in lines if not isinstance(line, str) for key in line)}


def _directory(config_dir: str | Path) -> Path:
    path = Path(config_dir).expanduser().resolve()
    if not path.is_dir():
        raise ConfigError(
            "the configuration directory is not there",
            got=config_dir,
            allowed="a directory of groups, such as DIR/model/mine.yaml",
            do="check its spelling, or make it",
        )
    return path
