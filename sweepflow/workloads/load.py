"""Load a workload from a module path or a `.py` file, and load it again once its file has changed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import psutil
from pydantic import ValidationError

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config
from sweepflow.workloads.function import function_workload
from sweepflow.workloads.workload import SweepWorkload

BUILT_IN = {name: f"sweepflow.workloads.{name}" for name in ("train", "landscape", "command")}
"""Workloads that are named without a path."""

KEPT = 4
"""Versions of a workload that a process keeps, for trials that were planned before its file changed."""

Stamp = tuple[int, int, int]
"""Time of the last change, size and inode of a file."""


@dataclass(frozen=True)
class _Version:
    module: ModuleType
    workload: SweepWorkload[Any]


_LOCK = threading.RLock()
_VERSIONS: defaultdict[str, deque[_Version]] = defaultdict(lambda: deque(maxlen=KEPT))
_STAMPS: dict[str, tuple[ModuleType, Stamp]] = {}
"""The stamp that a module's file had when it was executed here, by the module's name."""


def load_workload(path: str, trial: Mapping[str, Any] | None = None) -> SweepWorkload[Any]:
    """The workload of a module, as its file is now.

    A module either has `WORKLOAD`, or a pydantic model `Config` and a pure function `run`
    (see `function_workload`). Where its file has changed since it was executed, it is executed again, as a
    new module; what it imports is not.

    Args:
        path: `train`, `landscape` or `command`; a module path; or the path of a `.py` file.
        trial: A trial that is to run, `id` and `config` as plain JSON: the version that it was planned with
            is taken where this process still has it, whatever has become of the file.

    Raises:
        ConfigError: where it cannot be imported, or is no workload.
    """
    with _LOCK:
        versions = _VERSIONS[path]
        for version in reversed(versions):
            if trial is not None and _planned(version.workload, trial):
                return version.workload
        module = _import(BUILT_IN.get(path, path))
        if versions and versions[-1].module is module:
            return versions[-1].workload
        workload = _workload_of(module, path)
        if _has_changed(_name(path), module):  # as it was read: code and digest might be of two versions
            return load_workload(path, trial)
        versions.append(_Version(module, workload))
        return workload


def _planned(workload: SweepWorkload[Any], trial: Mapping[str, Any]) -> bool:
    """Whether a trial was planned with this version of its workload."""
    try:
        config = workload.config_type.model_validate(trial["config"])
    except ValidationError:
        return False
    return workload.trial(config).id == str(trial["id"])


def _workload_of(module: ModuleType, path: str) -> SweepWorkload[Any]:
    ready = getattr(module, "WORKLOAD", None)
    if isinstance(ready, SweepWorkload):
        return ready
    config_type, run = getattr(module, "Config", None), getattr(module, "run", None)
    if not (isinstance(config_type, type) and issubclass(config_type, Config)) or not callable(run):
        raise ConfigError(
            "this module is no workload",
            got=path,
            allowed="a class Config(sweepflow.Config) and a function run(config, inputs, key)",
            do="see docs/workloads.md for one of 20 lines",
        )
    return function_workload(module, path)


def is_importable(path: str) -> bool:
    """Whether `path` names a module or a `.py` file that is there; only packages on the way are run."""
    if path.endswith(".py"):
        return Path(path).is_file()
    if path.startswith("."):  # relative: to what?
        return False
    _see_working_directory()
    try:
        return importlib.util.find_spec(path) is not None
    except ModuleNotFoundError as error:  # a package on the way is not there, or one that it needs
        return error.name is not None and not f"{path}.".startswith(f"{error.name}.")
    except ValueError:  # no name at all
        return False
    except Exception:  # a package on the way is there, and raises: loading it says what
        return True


def _import(path: str) -> ModuleType:
    try:
        if path.endswith(".py"):
            return _from_file(path)
        _see_working_directory()
        known = sys.modules.get(path)
        if known is None:
            spec = importlib.util.find_spec(path)
            stamp = _stamp(spec.origin if spec else None)  # before: executing it may take long
            known = importlib.import_module(path)
            if stamp is not None:
                _STAMPS[path] = known, stamp
        elif _has_changed(path, known):
            known = _execute(path, Path(str(known.__file__)), getattr(known, "__path__", None))
        return known
    except ConfigError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            "this workload cannot be imported",
            got=f"{path}: {type(error).__name__}: {error}",
            do="try: python -c 'import ...' with the same name, in the same directory",
        ) from error


def _from_file(path: str) -> ModuleType:
    file = Path(path).resolve()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) != str(file):
        raise ConfigError("a module of this name is loaded already", got=path, do=f"rename {file.name}")
    return known if known is not None and not _has_changed(file.stem, known) else _execute(file.stem, file)


class _FromSource(SourceFileLoader):
    """Compiles the file as it is: a kept compilation is known by whole seconds and the size only."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _execute(name: str, file: Path, search: list[str] | None = None) -> ModuleType:
    """Execute a file as a new module, which takes the place of one of its name only if nothing is raised."""
    spec = importlib.util.spec_from_file_location(
        name, file, loader=_FromSource(name, str(file)), submodule_search_locations=search
    )
    assert spec is not None and spec.loader is not None  # it has a loader
    module, before, stamp = importlib.util.module_from_spec(spec), sys.modules.get(name), _stamp(str(file))
    sys.modules[name] = module  # pydantic and pickle look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    if stamp is not None:
        _STAMPS[name] = module, stamp
    return module


def _name(path: str) -> str:
    """What a workload's module is called in `sys.modules`."""
    return Path(path).stem if path.endswith(".py") else BUILT_IN.get(path, path)


def _has_changed(name: str, module: ModuleType) -> bool:
    """Whether a user's module is no longer what its file says.

    One that was imported elsewhere has changed if its file is younger than this process: it may have been
    imported before the change, and is executed again if it was not.
    """
    now = _stamp(getattr(module, "__file__", None))
    if name.partition(".")[0] == "sweepflow" or now is None:
        return False
    known, stamp = _STAMPS.get(name, (None, None))
    if known is module:
        return now != stamp
    return now[0] > psutil.Process().create_time() * 1e9


def _stamp(file: str | None) -> Stamp | None:
    """None for what is no readable source file."""
    if file is None or not file.endswith(".py"):
        return None
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _see_working_directory() -> None:
    """As `python -m` does: a user's module lies where the command is typed."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
