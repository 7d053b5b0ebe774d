"""Imports run one way: deployments → flows → tasks → sweepflow; and asking for help loads nothing heavy."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORCHESTRATION = {"prefect", "prefect_dask", "dask", "distributed", "dask_jobqueue", "wandb"}
FORBIDDEN = {
    "sweepflow": ORCHESTRATION | {"sweepflow.tasks", "sweepflow.flows", "deployments"},
    "tasks": {"sweepflow.flows", "deployments"},
    "flows": {"deployments"},
}


def imported(source: str) -> Iterator[str]:
    """Packages that a module imports, those of sweepflow each by itself, wherever in it, by statement or by
    name."""
    return map(_package, _names(source))


def _package(name: str) -> str:
    return ".".join(name.split(".")[: 2 if name.startswith("sweepflow.") else 1])


def _names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, (ast.Name, ast.Attribute))
            and (node.func.id if isinstance(node.func, ast.Name) else node.func.attr)
            in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_above_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 3
    looks_up = {
        str(file.relative_to(ROOT)): found
        for file in files
        if (found := FORBIDDEN[package] & set(imported(file.read_text())))
    }
    # The public names are those of flows, which are imported when somebody asks for one.
    public = {"sweepflow/__init__.py": {"sweepflow.flows"}} if package == "sweepflow" else {}
    assert looks_up == public


def test_no_two_sentinels_have_one_name() -> None:
    """What is compared by `is` is never equal to its namesake."""
    text = "\n".join(file.read_text() for package in FORBIDDEN for file in (ROOT / package).rglob("*.py"))
    names = re.findall(r"^(\w+)(?:: \w+)? = object\(\)$", text, re.MULTILINE)
    assert len(names) > 1 and len(names) == len(set(names)), sorted(names)


def test_the_search_for_imports_finds_every_spelling() -> None:
    source = (
        "import prefect.client\n"
        "def f():\n    from dask import delayed\n"
        "if TYPE_CHECKING:\n    import wandb as w\n"
        "importlib.import_module('sweepflow.flows.cli')\n__import__('sweepflow.tasks')\n"
        "from . import neighbour\nfrom sweepflow import data\n"
    )
    here = {"sweepflow.flows", "sweepflow.tasks", "sweepflow.data"}
    assert set(imported(source)) == {"prefect", "dask", "wandb", *here}


def parts_imported(source: str) -> set[str]:
    """The packages and modules right under `sweepflow` that a module imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "sweepflow":
            names += [f"sweepflow.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return {name.split(".")[1] for name in names if name.startswith("sweepflow.")}


def test_no_two_packages_import_each_other() -> None:
    """Nor do more of them in a circle: every part of sweepflow can be read without those above it."""
    house = ROOT / "sweepflow"
    below: dict[str, set[str]] = {}
    for file in house.rglob("*.py"):
        part = file.relative_to(house).parts[0].removesuffix(".py")
        below.setdefault(part, set()).update(parts_imported(file.read_text()) - {part})
    assert {"data", "schema"} <= below["estimates"]
    order = list(graphlib.TopologicalSorter(below).static_order())  # raises CycleError, which names them
    assert order.index("schema") < order.index("engine") < order.index("targets") < order.index("estimates")


def test_the_search_for_parts_finds_every_spelling() -> None:
    source = (
        "import sweepflow.storage.paths as paths\n"
        "from sweepflow import data\n"
        "def f():\n    from sweepflow.estimates.plan import make_plan\n"
        "import json\nfrom . import neighbour\n"
    )
    assert parts_imported(source) == {"storage", "data", "estimates"}


def test_importing_all_of_sweepflow_loads_no_orchestration() -> None:
    modules = sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in (ROOT / "sweepflow").rglob("*.py")
    )
    code = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    assert "sweepflow.estimates.workload" in modules
    assert not {"sweepflow.tasks", "sweepflow.flows", *ORCHESTRATION} & modules_after(code)


@pytest.mark.parametrize("arguments", [["--help"], ["llc", "--help"]])
def test_help_loads_neither_jax_nor_prefect(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['sweepflow', *{arguments}]\n"
        "from sweepflow.flows.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
    )
    loaded = modules_after(code)
    assert "typer" in loaded
    assert not {"jax", "jaxlib", "prefect", "blackjax", "equinox", "plotly"} & loaded


def test_completion_by_a_shell_loads_neither_jax_nor_prefect_nor_hydra() -> None:
    code = (
        "import os, sys; sys.argv = ['sweepflow']\n"
        "os.environ |= {'_SWEEPFLOW_COMPLETE': 'complete_bash', 'COMP_CWORD': '3'}\n"
        "os.environ['COMP_WORDS'] = 'sweepflow sweep workload=digits_mlp learning_r'\n"
        "from sweepflow.flows.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
    )
    loaded = modules_after(code)
    assert "sweepflow.compose.outline" in loaded
    assert not {"jax", "jaxlib", "prefect", "hydra", "omegaconf", "rich.console", "scipy"} & loaded


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded once it has run the code."""
    report = "import sys, json; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["runs"], {"jax", "prefect", "dask", "scipy.stats"}),
        (["targets"], {"prefect", "dask", "scipy.stats"}),
        (["llc", "--dry-run"], {"dask", "scipy.stats", "plotly"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_no_more_than_it_needs(arguments: list[str], heavy: set[str], tmp_path: Path) -> None:
    """Each of these packages takes from a third of a second to a whole one."""
    code = (
        f"import os, sys; sys.argv = ['sweepflow', *{arguments}]; os.chdir({str(tmp_path)!r})\n"
        "from sweepflow.flows.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)\n"
    )
    assert "typer" in modules_after(code)
