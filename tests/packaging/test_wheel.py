"""The wheel holds what users need. `.ci/run` installs it in an empty environment, and runs a sweep."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.prefect_server import ROOT

pytestmark = [pytest.mark.slow]
PACKAGES = ("sweepflow", "hydra_plugins")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("a wheel")
    build = [
        "-m",
        "pip",
        "wheel",
        ROOT,
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "--wheel-dir",
        directory,
    ]
    subprocess.run([sys.executable, *map(str, build), "--disable-pip-version-check"], check=True)
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_its_packages_and_no_other(wheel: Path) -> None:
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for folder in (ROOT / package, *(link for link in (ROOT / package).iterdir() if link.is_symlink()))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == there
    assert {f"sweepflow/{name}" for name in ("conf/llc.yaml", "flows/cli/app.py", "tasks/batch.py")} <= names
    assert {name.split("/")[0] for name in there} == {"sweepflow", "hydra_plugins"}
    assert any(name.startswith("sweepflow/report/template/") and name.endswith(".j2") for name in names)
