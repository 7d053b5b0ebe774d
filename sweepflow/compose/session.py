"""Hydra's composition for one command: groups, experiments, and one composed tree for a choice of groups."""

from __future__ import annotations

import itertools
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf

from sweepflow.compose.axes import Axis, Groups, parse_axes
from sweepflow.compose.grammar import quote
from sweepflow.compose.outline import CONF
from sweepflow.compose.overlaps import settles
from sweepflow.compose.refusal import NOT_COMPOSED, refusal
from sweepflow.errors import ConfigError
from sweepflow.words import shortened

ONE_AT_A_TIME = threading.RLock()
"""Lock for Hydra's state, which is global to the process."""
OTHER = {"llc": "sweep", "sweep": "llc"}
"""The other command, which has the groups that a command lacks; primary files are named like commands."""
NO_DEFAULT = re.compile(
    r"(?:In '(?P<file>[^']+)': )?Could not override '(?P<group>[^']+)'. No match in the defaults list"
)
"""Hydra's message for an option of a group of which no option has been chosen."""


class NoSuchGroupError(ConfigError):
    """An option of a group of which no option has been chosen, so that there is none to replace."""

    group = ""
    elsewhere = False
    """True if another command has the group."""


@dataclass(frozen=True)
class Session:
    """One command's view of the configuration files.

    Attributes:
        primary: Name of the primary file.
        groups: Groups and their options, including those in the user's own directory.
    """

    primary: str
    groups: Groups

    def compose(self, overrides: Sequence[str], hydra_too: bool = False) -> DictConfig:
        """Compose one tree.

        Raises:
            ConfigError: if Hydra cannot compose; with Hydra's message where no better one is known.
        """
        try:
            return hydra.compose(self.primary, list(overrides), return_hydra_config=hydra_too)
        except NOT_COMPOSED as error:
            said = shortened(" ".join(str(error).split()), 500)
            if found := NO_DEFAULT.match(said):
                raise self._not_chosen(found["group"], overrides, found["file"]) from error
            compose = partial(hydra.compose, self.primary, return_hydra_config=hydra_too)
            raise refusal(compose, overrides, self.groups) or ConfigError(
                f"Hydra cannot compose this: {said}",
                got=" ".join(text.removeprefix("++") for text in overrides),
                allowed=f"files that Hydra can read, and options of the groups {', '.join(self.groups)}",
                do="mend the file or the override that it names",
            ) from error

    def options(self, group: str) -> list[str]:
        """Options of a group, from all sources."""
        return _options(_loader(), group)

    def refuse_foreign(self, overrides: Sequence[str]) -> None:
        """Refuse groups that only another command has.

        Raises:
            ConfigError: for such a group; it names that command.
        """
        for text in overrides:
            group = text.partition("=")[0]
            if group in self.groups and group in _chosen_by(OTHER[self.primary]) - _chosen_by(self.primary):
                raise self._not_chosen(group, overrides)

    def _not_chosen(self, group: str, overrides: Sequence[str], file: str | None = None) -> NoSuchGroupError:
        """The error for a group of which this command has chosen no option."""
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
        """Add the sweep that an experiment file has in `hydra.sweeper.params`; the command line takes
        precedence."""
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
        texts = [f"{key}={value}" for key, value in params.items()]
        theirs = parse_axes(texts, self.groups, distributions=distributions, source=f"experiment {name}")
        typed = {axis.key for axis in axes}
        kept = [a for a in theirs if a.key not in typed and not any(settles(one, a.key) for one in axes)]
        return [*kept, *axes]


@contextmanager
def hydra_aside() -> Iterator[None]:
    """Use Hydra's global state for the block alone: no other thread composes meanwhile. The caller's
    initialised Hydra and its version base are saved, and restored afterwards."""
    with ONE_AT_A_TIME:
        initialised, version = GlobalHydra.instance().hydra, VersionBase.instance().version_base
        GlobalHydra.instance().clear()
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = initialised
            VersionBase.instance().version_base = version


@contextmanager
def session(primary: str, config_dir: str | Path | None) -> Iterator[Session]:
    """Use Hydra with the shipped groups and the user's own. A Hydra that the caller has initialised is saved,
    and restored afterwards.

    Raises:
        ConfigError: if the user's directory does not exist.
    """
    own = None if config_dir is None else _directory(config_dir)
    with hydra_aside(), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        loader = _loader()
        if own is not None:  # not as an override, which would have to be quoted
            loader.config_search_path.prepend("sweepflow", f"file://{own}", anchor="schema")
            loader.repository.initialize_sources(loader.config_search_path)
        yield Session(primary, _groups(loader))


def _loader() -> ConfigLoaderImpl:
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)  # Hydra has no other
    return loader


def _groups(loader: ConfigLoaderImpl) -> Groups:
    names = set(loader.list_groups("")) - {"hydra"}
    return {name: _options(loader, name) for name in sorted(names)}


def _options(loader: ConfigLoaderImpl, group: str) -> list[str]:
    # Not of the loader itself, which copies all that it knows, each time.
    return loader.repository.get_group_options(group, ObjectType.CONFIG)


def composed_once(axes: Sequence[Axis], later: Sequence[Axis] = ()) -> Iterator[list[str]]:
    """Overrides that Hydra composes: one list for every combination of options, without `later`.

    A value may name any key: the schema, not the YAML, decides which keys exist.

    Args:
        axes: The overrides of a command line.
        later: The axes among these that are set later, in the composed tree.
    """
    choices = [axis for axis in axes if axis.is_group]
    values = [axis for axis in axes if not axis.is_group and axis not in later]
    forced = [axis.text if axis.deletes else f"++{axis.texts[0].lstrip('+')}" for axis in values]
    for chosen in itertools.product(*[axis.texts for axis in choices]):
        yield [*chosen, *forced]


@cache
def _chosen_by(primary: str) -> frozenset[str]:
    """Groups of which a shipped primary file chooses an option."""
    defaults = OmegaConf.load(CONF / f"{primary}.yaml").defaults
    return frozenset(str(key) for item in defaults if not isinstance(item, str) for key in item)


def _used_by(primary: str) -> set[str]:
    """The groups of `_chosen_by`, and the groups that their options use in turn: workloads have data and
    models."""
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
