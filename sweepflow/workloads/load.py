"""Load a workload from a module path or a `.py` file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config
from sweepflow.workloads.function import function_workload
from sweepflow.workloads.workload import SweepWorkload

BUILT_IN = {name: f"sweepflow.workloads.{name}" for name in ("train", "landscape", "command")}
"""Workloads that are named without a path."""


@lru_cache(maxsize=64)
def load_workload(path: str) -> SweepWorkload[Any]:
    """The workload of a module.

    A module either has `WORKLOAD`, or a pydantic model `Config` and a pure function `run`
    (see `function_workload`).

    Args:
        path: `train`, `landscape` or `command`; a module path; or the path of a `.py` file.

    Raises:
        ConfigError: where it cannot be imported, or is no workload.
    """
    module = _import(BUILT_IN.get(path, path))
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
        if not path.endswith(".py"):
            _see_working_directory()
            return importlib.import_module(path)
        file = Path(path).resolve()
        name = file.stem
        if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(file):
            return sys.modules[name]
        if name in sys.modules:
            raise ConfigError("a module of this name is loaded already", got=path, do=f"rename {file.name}")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None  # it ends in .py
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # pydantic and pickle look a class's module up by name
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module
    except ConfigError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            "this workload cannot be imported",
            got=f"{path}: {type(error).__name__}: {error}",
            do="try: python -c 'import ...' with the same name, in the same directory",
        ) from error


def _see_working_directory() -> None:
    """As `python -m` does: a user's module lies where the command is typed."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
