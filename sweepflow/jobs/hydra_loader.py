"""Configurations as Hydra's own launcher composes them, for users who come from Hydra.

Nothing of `conf/` is among their groups. Hydra takes a tenth of a second to compose one configuration.
Therefore it composes once for all jobs that differ only in values, and the values are set in copies.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import compress, count
from pathlib import Path
from typing import Any, cast

from hydra import initialize, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import MISSING, DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from packaging.version import Version

from sweepflow.compose.grammar import given_as, key_of, read
from sweepflow.compose.session import hydra_aside
from sweepflow.errors import ConfigError
from sweepflow.jobs.expand import choosing, held
from sweepflow.jobs.source import registered
from sweepflow.jobs.told import told
from sweepflow.schema.name import check_path

DIRECTORIES = {
    RunMode.RUN: ("hydra.run.dir",),
    RunMode.MULTIRUN: ("hydra.sweep.dir", "hydra.sweep.subdir"),
}
"""Keys of Hydra's configuration that form a job's directory."""
NOW = re.compile(r"\$\{now:[^{}]*\}")
"""Interpolation of the time in the setting of a directory."""


@dataclass(frozen=True)
class Loaded:
    """The configuration of one job.

    Attributes:
        overrides: The job's own overrides, without Hydra's.
        params: Values of the overrides, by key.
        tree: The configuration.
        hydra: Hydra's own configuration; shared by jobs that differ only in values.
        directory: Directory of the job's outputs.
    """

    overrides: tuple[str, ...]
    params: dict[str, Any]
    tree: DictConfig
    hydra: DictConfig
    directory: str


class HydraLoader:
    """Composes a configuration repeatedly, with different overrides. Made by `hydra_loader`.

    Attributes:
        loader: Hydra's own loader.
        name: Name of the configuration in Hydra's store.
    """

    def __init__(
        self, loader: ConfigLoader, name: str, job_name: str, version_base: Version, chdir: bool
    ) -> None:
        self.loader, self.name = loader, name
        self._job_name, self._version_base, self._chdir = job_name, version_base, chdir
        self._newest = DictConfig({"hydra": None})
        self._taken: dict[str, str] = {}
        self._bases: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}
        self._groups: dict[str, bool] = {}

    @property
    def hydra(self) -> Any:
        """Hydra's own configuration from the latest composition."""
        return self._newest.hydra

    @contextmanager
    def composing(self) -> Iterator[None]:
        """Set Hydra's state as this loader needs it to compose; only while no callable is called."""
        with hydra_aside():
            VersionBase.instance().setbase(self._version_base)
            yield

    def master(self, overrides: Sequence[str], mode: RunMode) -> DictConfig:
        """Return the configuration of the whole sweep, or run, with Hydra's own under `hydra`.

        Raises:
            ConfigError: for overrides that Hydra cannot compose.
        """
        parsed = _parsed(overrides)
        if mode == RunMode.RUN:
            _refuse_sweeps(parsed)
        given = [str(override.input_line) for override in parsed]
        with self.composing():
            whole = self._newest = self._load(
                given, lambda texts: self.loader.load_configuration(self.name, texts, mode, from_shell=False)
            )
        with flag_override(whole, ["readonly", "struct"], False):
            whole.hydra.mode = mode
            whole.hydra.overrides.task = [o.input_line for o in parsed if not o.is_hydra_override()]
            whole.hydra.job.name = self._job_name
            if whole.hydra.job.chdir is None:
                whole.hydra.job.chdir = self._chdir
        for key in DIRECTORIES[mode]:
            with suppress(OmegaConfBaseException):  # what only a job has
                OmegaConf.select(whole, key)  # which keeps the time that is in it
        return whole

    def take_directory(self, master: DictConfig) -> None:
        """Create the directory of the sweep, or run, if the second in which it begins decides the name.
        Another sweep or run that begins in that second gets another directory, even if it begins
        elsewhere."""
        key = DIRECTORIES[master.hydra.mode][0]
        _, section, name = key.split(".")
        written = str(OmegaConf.to_container(master.hydra[section])[name])  # type: ignore[call-overload,index]
        if "%S" not in written or "${" in NOW.sub("", written):
            return
        named = os.path.abspath(str(OmegaConf.select(master, key)))
        for number in count(2):
            try:
                Path(self._taken.setdefault(named, named)).mkdir(parents=True)
            except FileExistsError:
                self._taken[named] = f"{named}_{number}"
            else:
                return

    def job(self, master: DictConfig, overrides: Sequence[str], number: int) -> Loaded:
        """Return the configuration of one job of a sweep, or run.

        Raises:
            ConfigError: for overrides that Hydra cannot compose, and for overrides that sweep.
        """
        parsed = _parsed(overrides)
        _refuse_sweeps(parsed)
        tree, own = self._composed(master, parsed)
        task = [override for override in parsed if not override.is_hydra_override()]
        texts = tuple(str(override.input_line) for override in task)
        tell(own, texts, number, MISSING)
        # The resolver `hydra:` asks there, as soon as a value of the job's is looked at.
        self._newest = own
        first, *more = [_select(master, own, tree, key) for key in DIRECTORIES[master.hydra.mode]]
        root = os.path.abspath(first)
        directory = check_path(
            os.path.abspath(os.path.join(self._taken.get(root, root), *more)),
            do=f"shorten {' or '.join(DIRECTORIES[master.hydra.mode])}, or exclude keys of override_dirname",
        )
        with flag_override(own, ["readonly", "struct"], False):
            own.hydra.runtime.output_dir = directory
        params = {
            key_of(one): one.value() if self.is_shared(master, one) else held(tree, key_of(one), one.value())
            for one in task
        }
        return Loaded(texts, params, tree, own, directory)

    def _composed(self, master: DictConfig, parsed: Sequence[Override]) -> tuple[DictConfig, DictConfig]:
        with self.composing():
            return self._together(master, parsed)

    def _together(self, master: DictConfig, parsed: Sequence[Override]) -> tuple[DictConfig, DictConfig]:
        shared = [self.is_shared(master, override) for override in parsed]
        texts = [str(override.input_line) for override in parsed]
        values = [override for override, one in zip(parsed, shared, strict=True) if not one]
        try:
            tree, own = self._base(master, tuple(compress(texts, shared)))
            tree = copy.deepcopy(tree)
            # In their order, after all options: as Hydra does.
            ConfigLoaderImpl._apply_overrides_to_config(values, tree)
        except (ConfigError, HydraException, OmegaConfBaseException):
            # Hydra says what is wrong of the whole.
            return self._base(master, tuple(texts))
        return tree, own

    def is_shared(self, master: DictConfig, override: Override) -> bool:
        """Return whether Hydra has to compose again if an override differs: true for an option of a group,
        and for Hydra's own keys."""
        if override.package or override.is_hydra_override() or override.key_or_group == "hydra":
            return True
        # A mapping is merged with what a group gives, and chooses nothing.
        return not isinstance(override.value(), dict) and self._is_group(master, override.key_or_group)

    def _is_group(self, master: DictConfig, key: str) -> bool:
        if key not in self._groups:
            # Groups of groups count, and so do those of a search path that is told.
            told = cast(list[str], OmegaConf.to_container(master.hydra.overrides.hydra))
            with self.composing():
                found = self.loader.get_group_options(key, None, config_name=self.name, overrides=told)
            self._groups[key] = bool(found)
        return self._groups[key]

    def _base(self, master: DictConfig, texts: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        """Return the configuration and Hydra's own, composed once for the same overrides."""
        if texts not in self._bases:
            whole = self._load(texts, lambda given: self.loader.load_sweep_config(master, given))
            with flag_override(whole, ["readonly", "struct"], False):
                whole.hydra.mode = master.hydra.mode
                whole.hydra.job.name = master.hydra.job.name
                whole.hydra.job.chdir = master.hydra.job.chdir
            own = OmegaConf.masked_copy(whole, "hydra")
            with open_dict(whole):
                del whole["hydra"]
            self._bases[texts] = whole, own
        return self._bases[texts]

    def _load(self, overrides: Sequence[str], load: Callable[[list[str]], DictConfig]) -> DictConfig:
        return choosing(load, overrides, lambda error: _refused(overrides, error))


@contextmanager
def hydra_loader(
    config: Any, job_name: str, *, config_dir: str | Path | None, version_base: str | None, chdir: bool
) -> Iterator[HydraLoader]:
    """Provide a loader while the block runs. A Hydra that the caller initialised is set aside, and restored.

    Args:
        config: A configuration of a kind that `source.ALLOWED` lists.
        job_name: Hydra's name of the callable.
        config_dir: A directory of the user's own groups.
        version_base: As in Hydra.
        chdir: Whether jobs run in their directories if `hydra.job.chdir` is not set.

    Raises:
        ConfigError: for a `config` that is not a configuration.
    """
    with registered(config) as name:
        with hydra_aside():  # and not for longer: the callable may use Hydra itself
            if config_dir is None:
                begun: Any = initialize(None, job_name, version_base=version_base)
            else:
                directory = str(Path(config_dir).expanduser().resolve())
                begun = initialize_config_dir(directory, job_name, version_base=version_base)
            with begun:
                made = GlobalHydra.instance().config_loader()
            base = VersionBase.instance().getbase()
        assert base is not None
        loader = HydraLoader(made, name, job_name, base, chdir)
        with told(loader):
            yield loader


def tell(own: DictConfig, overrides: Sequence[str], number: int, directory: str) -> None:
    """Write the values of one job only into Hydra's configuration, under its key `hydra`.

    Args:
        own: Hydra's configuration; changed in place.
        overrides: Overrides of the job, without Hydra's.
        number: Number of the job.
        directory: Directory of the job's outputs.
    """
    with flag_override(own, ["readonly", "struct"], False):
        own.hydra.overrides.task = list(overrides)
        own.hydra.job.num, own.hydra.job.id = number, str(number)
        how = own.hydra.job.config.override_dirname
        lines = sorted(o for o in overrides if o.partition("=")[0].lstrip("+~") not in how.exclude_keys)
        own.hydra.job.override_dirname = str(how.item_sep).join(lines).replace("=", how.kv_sep)
        own.hydra.runtime.output_dir = directory


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """Return parsed overrides, each with a text that gives the same value when it is read again."""
    parsed = map(read, overrides)
    return [o if o.is_sweep_override() or o.is_delete() else given_as(o, o.value()) for o in parsed]


def _select(master: DictConfig, own: DictConfig, tree: DictConfig, key: str) -> str:
    """Return a directory, which may depend on Hydra's values and on the job's."""
    OmegaConf.copy_cache(from_config=master, to_config=own)  # every job has the time of the sweep
    try:
        return str(OmegaConf.select(own, key))
    except InterpolationKeyError:
        whole = copy.deepcopy(tree)
        with open_dict(whole):
            whole["hydra"] = own.hydra
        OmegaConf.copy_cache(from_config=master, to_config=whole)
        return str(OmegaConf.select(whole, key))


def _refuse_sweeps(parsed: Sequence[Override]) -> None:
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(
                "a job has one value for each key",
                got=override.input_line,
                allowed="one value, or a list in brackets: key=[1,2]",
                do="use hydra_multirun, or launch(..., multirun=True), for all of them",
            )


def _refused(overrides: Sequence[str], error: Exception) -> ConfigError:
    cause = f": {str(error.__cause__).splitlines()[0]}" if error.__cause__ else ""
    return ConfigError(
        f"Hydra cannot compose this: {' '.join(str(error).split())}{cause}",
        got=" ".join(overrides) or "no overrides",
        do="mend what it names",
    )
