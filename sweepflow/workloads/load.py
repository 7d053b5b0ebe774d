"""Load a workload from a module path or a `.py` file, and load it again once its file has changed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
from pydantic import ValidationError

from sweepflow.errors import ConfigError, in_words
from sweepflow.schema.fields import Config
from sweepflow.workloads.function import function_workload
from sweepflow.workloads.neighbours import (
    FromSource,
    close_world,
    digest_of,
    imported_anew,
    neighbours,
    open_world,
)
from sweepflow.workloads.workload import SweepWorkload

BUILT_IN = {name: f"sweepflow.workloads.{name}" for name in ("train", "landscape", "command")}
"""Workloads that are named without a path."""

KEPT = 4
"""Number of versions of a workload that a process keeps, for trials planned before its file changed."""

Stamps = dict[Path, tuple[int, int, int]]
"""Time of the last change, size and inode of source files."""


@dataclass(frozen=True)
class _Seen:
    """The files from which a module was executed in this process.

    Attributes:
        module: The module.
        stamps: Stamps that its file and its neighbours' files had, as far as the files existed.
        beside: Files of its neighbours, by name; also those of earlier versions, which may come back.
    """

    module: ModuleType
    stamps: Stamps
    beside: Mapping[str, Path]

    def now(self) -> Stamps:
        """Return the present stamps of the same files."""
        return _stamps([getattr(self.module, "__file__", None), *self.beside.values()])

    def gone(self) -> list[str]:
        """Return the names of neighbours that existed and no longer exist."""
        now = self.now()
        return [name for name, file in self.beside.items() if file in self.stamps and file not in now]


@dataclass(frozen=True)
class _Version:
    module: ModuleType
    workload: SweepWorkload[Any]


_LOCK = threading.RLock()
_VERSIONS: defaultdict[str, deque[_Version]] = defaultdict(lambda: deque(maxlen=KEPT))
_SEEN: dict[str, _Seen] = {}
"""Executed modules and their files, by the module's name."""


def load_workload(path: str, trial: Mapping[str, Any] | None = None) -> SweepWorkload[Any]:
    """Return the workload of a module, from the present version of its file.

    A module either has `WORKLOAD`, or a pydantic model `Config` and a pure function `run`
    (see `function_workload`). If its file, or a file that it imports from beside it, has changed since the
    module was executed, the module is executed again, as a new module. Installed modules are not executed
    again.

    Args:
        path: `train`, `landscape` or `command`; a module path; or the path of a `.py` file.
        trial: A trial that is to run, `id` and `config` as plain JSON. The version that the trial was planned
            with is used if this process still has it, whatever has happened to the file. Without a trial,
            trials are about to be planned: files that `inputs` reads may have changed, and `inputs` is called
            again.

    Raises:
        ConfigError: if the module cannot be imported, or is not a workload.
    """
    with _LOCK:
        versions = _VERSIONS[path]
        for version in reversed(versions):
            if trial is not None and _planned(version.workload, trial):
                return version.workload
        module = _import(BUILT_IN.get(path, path))
        if versions and versions[-1].module is module:
            if trial is None:
                versions[-1].workload.forget()
            return versions[-1].workload
        workload = _workload_of(module, path)
        if _has_changed(_name(path), module):  # as it was read: code and digest might be of two versions
            return load_workload(path, trial)
        if len(versions) == KEPT:
            close_world(versions[0].module)
        versions.append(_Version(module, workload))
        return workload


def _planned(workload: SweepWorkload[Any], trial: Mapping[str, Any]) -> bool:
    """Return whether a trial was planned with this version of its workload."""
    try:
        config = workload.config_type.model_validate(trial["config"])
        return workload.trial(config).id == str(trial["id"])
    except (ValidationError, ConfigError):  # not even its inputs can be had: running the trial says why
        return False


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
            do="see docs/how-to/own-workload.md for one of 20 lines",
        )
    return function_workload(module, path)


def is_importable(path: str) -> bool:
    """Return whether `path` names an existing module or `.py` file; only packages on the way are run."""
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
        if known is not None and not _has_changed(path, known):
            return known
        spec = None if known is not None else importlib.util.find_spec(path)
        file = getattr(known, "__file__", None) or (spec.origin if spec else None)
        beside = _beside(path, file)
        edited = _edited(path, known, beside)
        if known is None and not edited:
            stamps = _stamps([file, *beside.values()])  # before: executing it may take long
            known = importlib.import_module(path)
            _SEEN[path] = _Seen(known, stamps, beside)
            return known
        with imported_anew(edited):
            return _execute(path, Path(str(file)), beside, getattr(known, "__path__", None))
    except ConfigError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            "this workload cannot be imported",
            got=f"{path}: {in_words(error)}",
            do="try: python -c 'import ...' with the same name, in the same directory",
        ) from error


def _from_file(path: str) -> ModuleType:
    file = Path(path).resolve()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) != str(file):
        raise ConfigError("a module of this name is loaded already", got=path, do=f"rename {file.name}")
    if known is not None and not _has_changed(file.stem, known):
        return known
    return _execute(file.stem, file, _beside(file.stem, file), in_world=True)


def _execute(
    name: str, file: Path, beside: Mapping[str, Path], search: Any = None, *, in_world: bool = False
) -> ModuleType:
    """Execute a file as a new module, which replaces a module of the same name only if nothing is raised.

    Args:
        name, file: Name and file of the module.
        beside: Files of its neighbours.
        search: Directories with the modules of a package; None for a module that is not a package.
        in_world: Whether its neighbours are found beside the file, and by this module alone.
    """
    spec = importlib.util.spec_from_file_location(
        name, file, loader=FromSource(name, str(file)), submodule_search_locations=search
    )
    assert spec is not None and spec.loader is not None  # it has a loader
    module, before = importlib.util.module_from_spec(spec), sys.modules.get(name)
    seen = _SEEN.get(name)
    earlier = seen.beside if seen is not None and seen.module.__file__ == str(file) else {}
    stamps = _stamps([file, *earlier.values(), *beside.values()])
    sys.modules[name] = module  # pydantic and pickle look a class's module up by name
    if in_world and beside:
        open_world(module, file, digest_of(file, beside))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        close_world(module)
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    _SEEN[name] = _Seen(module, stamps, {**earlier, **beside})
    return module


def _name(path: str) -> str:
    """Return the name of a workload's module in `sys.modules`."""
    return Path(path).stem if path.endswith(".py") else BUILT_IN.get(path, path)


def _beside(name: str, file: str | Path | None) -> dict[str, Path]:
    """Return the files of the neighbours of a user's module."""
    is_source = file is not None and Path(file).suffix == ".py" and not _is_own(name)
    return neighbours(Path(str(file)), name) if is_source else {}


def _has_changed(name: str, module: ModuleType) -> bool:
    """Return whether a user's module differs from its file and its neighbours' files.

    A neighbour that no longer exists counts as changed. If the file itself no longer exists, nothing counts
    as changed: there is no other version, and a running sweep continues with this one.

    A module that was imported elsewhere counts as changed if one of the files is younger than this process:
    the module may have been imported before the change. If it was not, it is executed again all the same.
    """
    if _is_own(name):
        return False
    file, seen = getattr(module, "__file__", None), _SEEN.get(name)
    if seen is not None and seen.module is module:
        return seen.now() != seen.stamps and bool(_stamps([file]))
    beside = _beside(name, file)
    stamps = _stamps([file, *beside.values()])
    if any(map(_is_young, stamps.values())):
        return True
    _SEEN[name] = _Seen(module, stamps, beside)
    return False


def _edited(name: str, module: ModuleType | None, beside: Mapping[str, Path]) -> list[str]:
    """Return the neighbours to import again: all that are loaded, if one of them has changed or no longer
    exists."""
    seen = _SEEN.get(name)
    gone = [] if seen is None or seen.module is not module else seen.gone()
    loaded = [one for one in (*gone, *beside) if one in sys.modules]
    now = _stamps(beside[one] for one in loaded if one in beside)
    if seen is None or seen.module is not module:
        changed = any(map(_is_young, now.values()))
    else:
        changed = bool(gone) or any(seen.stamps.get(file) != stamp for file, stamp in now.items())
    return list(dict.fromkeys(loaded)) if changed else []


def _is_own(name: str) -> bool:
    return name.partition(".")[0] == "sweepflow"


def _is_young(stamp: tuple[int, int, int]) -> bool:
    return stamp[0] > psutil.Process().create_time() * 1e9


def _stamps(files: Iterable[str | Path | None]) -> Stamps:
    """Return the stamps of the files that are readable source files."""
    found: Stamps = {}
    for file in files:
        if file is not None and Path(file).suffix == ".py":
            with suppress(OSError):
                status = os.stat(file)
                found[Path(file)] = status.st_mtime_ns, status.st_size, status.st_ino
    return found


def _see_working_directory() -> None:
    """Put the working directory on the module path, as `python -m` does: a user's module lies where the
    command is typed."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
