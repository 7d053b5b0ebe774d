"""Expansion of the overrides of a callable's configuration: one composed tree per job.

Hydra composes once for each choice of group options; values that vary within one choice are set in copies.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweepflow.compose.axes import Axis, Groups, parse_axes
from sweepflow.compose.overlaps import late, refuse_overlaps
from sweepflow.compose.refusal import NOT_COMPOSED, UNFIT, apply, keys_of, refusal, unfit
from sweepflow.compose.session import NO_DEFAULT, ONE_AT_A_TIME, Session, session
from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.jobs.source import registered

ELSEWHERE = re.compile(
    r"Could not override '(?P<group>[^']+)'.\s+Did you mean to override (?:one of )?(?P<others>[^?]+)\?"
)
"""Hydra's message about a group from which options have been chosen in other packages."""

HYDRAS_OWN_WAYS = tuple(
    f"hydra{mark}{name}" for name in ("run", "sweep", "launcher", "sweeper") for mark in (".", "/")
)
"""Prefixes of the keys that decide how Hydra runs jobs."""


@dataclass(frozen=True)
class Composed:
    """The configuration of one job.

    Attributes:
        overrides: Overrides that distinguish the job from the others, in Hydra's grammar.
        params: The job's values of the keys and groups that vary.
        tree: The composed configuration.
        hydra: Hydra's own configuration, shared by jobs with the same choice of groups.
    """

    overrides: tuple[str, ...]
    params: dict[str, Any]
    tree: DictConfig
    hydra: DictConfig


class Composer:
    """Composes a callable's configuration repeatedly, with different overrides.

    A group comes from the config store, from the user's own directory, or from `conf/`. A key of the
    configuration takes precedence over a group of `conf/`.

    Args:
        config: A configuration of a kind that `source.ALLOWED` lists.
        config_dir: A directory of the user's own groups.
    """

    def __init__(self, config: Any, config_dir: str | Path | None = None) -> None:
        self._config, self._directory = config, config_dir
        self._bases: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}
        with self._session() as view:
            self._own: DictConfig = ConfigStore.instance().repo[f"{view.primary}.yaml"].node
            self._groups = _groups(view, self._own)

    def axes(self, overrides: Sequence[str]) -> list[Axis]:
        """Return the overrides as axes; intervals and choices have distributions.

        Raises:
            ConfigError: for a text that is not an override, and for an option that a group does not have.
        """
        axes = parse_axes(overrides, self._groups, distributions=True)
        refuse_overlaps(axes)
        ours = {*self._groups, *self._own}
        for axis in axes:
            if axis.key.startswith(HYDRAS_OWN_WAYS):
                raise ConfigError(
                    "Hydra's directories, launchers and sweepers are not used here",
                    got=axis.text,
                    allowed="keys of the configuration, and its groups",
                    do="use hydra_run or hydra_multirun, or the arguments working_dir, runner and sweeper",
                )
            if axis.key.split(".")[0] == "runner" and "runner" not in ours:
                raise ConfigError(
                    "where jobs run is not among the overrides of a callable",
                    got=axis.text,
                    allowed="keys of the configuration, and its groups",
                    do=f"give the argument runner=[{axis.text!r}]; to add such a key, write +{axis.text}",
                )
        return axes

    def expand(self, overrides: Sequence[str], drawn: Sequence[str] = ()) -> list[Composed]:
        """Return every configuration that the overrides ask for; the first override varies slowest, as in
        Hydra.

        Args:
            overrides: Overrides in Hydra's grammar; lists of values, ranges and globs are swept.
            drawn: Additional overrides of one value each, which are different the next time.

        Raises:
            ConfigError: for a configuration, key, option or value that cannot be used.
        """
        axes = self.axes([*overrides, *drawn])
        for axis in axes:
            if axis.distribution is not None and not axis.values:
                raise ConfigError(
                    f"{axis.key}: an interval is a distribution, not a list of values",
                    got=axis.text,
                    allowed=f"{axis.key}=1,2,3 or {axis.key}=range(1,4)",
                    do="list the values, or give a sweeper that draws from it: sweeper=Random(20)",
                )
        return list(self._compose(axes, [axis for axis in axes if axis.sweeps or axis.text in drawn]))

    def _compose(self, axes: Sequence[Axis], changing: Sequence[Axis]) -> Iterator[Composed]:
        later = late(axes, changing)
        for chosen in itertools.product(*[axis.overrides for axis in axes]):
            texts = [str(override.input_line) for override in chosen]
            once = [text for text, axis in zip(texts, axes, strict=True) if axis not in later]
            base, of_hydra = self._base(tuple(once))
            tree = copy.deepcopy(base)
            of = list(zip(axes, chosen, strict=True))
            for axis, override in of:
                if axis in later:
                    _set(tree, override, [one for _, one in of])
            params = {
                axis.key: override.value() if axis.is_group else held(tree, axis.key, override.value())
                for axis, override in of
                if axis in changing
            }
            yield Composed(tuple(texts), params, tree, of_hydra)

    def _base(self, overrides: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        """Return the tree that Hydra composes, and Hydra's own configuration; the same overrides are composed
        once."""
        if overrides not in self._bases:
            with self._session() as view:
                self._bases[overrides] = _base(view, overrides, self._own, self._groups)
        return self._bases[overrides]

    @contextmanager
    def _session(self) -> Iterator[Session]:
        # Not for longer than it is needed: the callable may use Hydra itself.
        with ONE_AT_A_TIME, registered(self._config) as name, session(name, self._directory) as view:
            yield view


def _set(tree: DictConfig, override: Override, among: Sequence[Override]) -> None:
    """Set one value in a composed tree, as Hydra does."""
    try:
        apply(override, tree)
    except UNFIT as error:
        raise unfit(override, tree, among) or _refused(str(override.input_line), error, tree) from error


def held(tree: DictConfig, key: str, given: Any) -> Any:
    """Return the value in a configuration for a given value: types convert it, later overrides change it.

    Args:
        tree: The configuration.
        key: A dotted key.
        given: Value that an override gives the key.
    """
    try:
        found = OmegaConf.select(tree, key)
        if OmegaConf.is_config(found):
            found = OmegaConf.to_container(found, resolve=True, enum_to_str=True)
    except OmegaConfBaseException:  # what is not whole yet is said where it is called
        return given
    return _of(found, given)


def _of(found: Any, given: Any) -> Any:
    if isinstance(found, dict) and isinstance(given, dict):
        return {key: _of(found[key], inner) for key, inner in given.items() if key in found}
    return found if isinstance(found, bool | int | float | str | list | dict | None) else given


def choosing(
    load: Callable[[list[str]], DictConfig],
    overrides: Sequence[str],
    refused: Callable[[Exception], ConfigError],
) -> DictConfig:
    """Compose a configuration. Overrides can choose options of groups even without a defaults list.

    Args:
        load: Lets Hydra compose overrides.
        overrides: The overrides; an option of a group from which nothing has been chosen is added.
        refused: Returns the error to raise for an error of Hydra.
    """
    texts = list(overrides)
    while True:
        try:
            return load(texts)
        except NOT_COMPOSED as error:
            added = {text.partition("=")[0][1:] for text in texts if text.startswith("+")}
            group = _not_chosen(str(error), added)
            if group is None or group in added:
                raise refused(error) from error
            texts = [f"+{text}" if text.partition("=")[0] == group else text for text in texts]


def _not_chosen(said: str, added: Collection[str]) -> str | None:
    """Return the group, with its package, from which no option has been chosen, according to Hydra's message;
    None if the message says something else, or that the defaults list has the group in other packages."""
    if found := NO_DEFAULT.match(said):
        return found["group"]
    found = ELSEWHERE.match(said)
    return found["group"] if found and set(found["others"].split(", ")) <= set(added) else None


def _base(
    view: Session, overrides: Sequence[str], own: DictConfig, groups: Groups
) -> tuple[DictConfig, DictConfig]:
    """Return the composed tree, and Hydra's own configuration."""

    def load(texts: list[str]) -> DictConfig:
        return hydra.compose(view.primary, texts, return_hydra_config=True)

    def chosen(texts: list[str]) -> DictConfig:
        return choosing(load, texts, lambda error: _refused(" ".join(texts), error, own))

    def refused(error: Exception) -> ConfigError:
        return refusal(chosen, overrides, groups) or _refused(" ".join(overrides), error, own)

    whole = choosing(load, overrides, refused)
    of_hydra = OmegaConf.masked_copy(whole, "hydra")
    with open_dict(whole):
        del whole["hydra"]
    return whole, of_hydra


def _groups(view: Session, own: DictConfig) -> Groups:
    """Return the groups that overrides can choose from."""
    listed = own.get("defaults") or []
    keys = [str(key) for item in listed if not isinstance(item, str) for key in item]
    chosen = {key.partition("@")[0].split(" ")[-1].lstrip("/") for key in keys}  # override /db@source
    stored = set(_stored_groups(ConfigStore.instance().repo))
    groups = {name: view.options(name) for name in {*view.groups, *stored}}
    mine = chosen | stored
    return {name: o for name, o in groups.items() if name in mine or name not in {*own, "runner"}}


def _stored_groups(repository: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the groups of the config store; Hydra's own groups are left to Hydra."""
    for name, inner in repository.items():
        if isinstance(inner, dict) and name != "hydra":
            yield above + name
            yield from _stored_groups(inner, f"{above}{name}/")


def _refused(text: str, error: Exception, tree: DictConfig) -> ConfigError:
    """Return the error of Hydra or OmegaConf as a ConfigError; a missing key is described in our words."""
    known = sorted(keys_of(tree))
    # Hydra says which override it was; what OmegaConf said of it is the cause.
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error
    lines = str(cause).splitlines()
    # OmegaConf's first line is what is wrong; below it, it repeats the key.
    said = " ".join(" ".join(lines[:1] if isinstance(cause, OmegaConfBaseException) else lines).split())
    missing = (
        cause.full_key if isinstance(cause, OmegaConfBaseException) and said.startswith("Key ") else None
    )
    if missing:
        return ConfigError(
            f"the configuration has no key {missing!r}",
            got=text,
            allowed=", ".join(known),
            do=f"{did_you_mean(str(missing), known)}; to add a key, write a plus: +{missing}=VALUE",
        )
    return ConfigError(f"Hydra cannot compose this: {said}", got=text, do="mend what it names")
