"""What users import: `sweepflow` and its names."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import sweepflow

ROOT = Path(sweepflow.__file__).parent
EXAMPLES = sorted(
    "sweepflow." + ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in ROOT.rglob("*.py")
    if ">>>" in file.read_text() and "from sweepflow import" not in file.read_text()
)
"""Modules with examples of functions that users do not import from `sweepflow`."""

LOOK = """
import inspect, sys
import sweepflow
from sweepflow import *
assert "prefect" in sys.modules
for name in sweepflow.__all__:
    assert not inspect.ismodule(getattr(sweepflow, name)), f"a module hides sweepflow.{name}"
    assert inspect.getdoc(getattr(sweepflow, name)), name
"""


def test_no_module_has_the_name_of_what_users_import() -> None:
    """A module that is imported becomes an attribute of its package, in place of what had that name."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", ["flows", "tasks"])
def test_no_file_hides_a_library(folder: str) -> None:
    """Prefect puts the folder of an entrypoint such as `flows/sweep.py:sweep` on the path of its process."""
    ours = {path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or path.is_dir()}
    libraries = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions()} - {"sweepflow"}
    assert not ours & libraries


def test_a_name_that_there_is_not_is_an_error_and_the_others_are_listed() -> None:
    assert dir(sweepflow) == sorted(sweepflow.__all__)
    assert not hasattr(sweepflow, "lcl")


def test_importing_it_loads_no_flow() -> None:
    code = "import sys, sweepflow; sys.exit('prefect' in sys.modules or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_of_other_functions_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted and not found.failed
