"""What is installed from the wheel works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from sweepflow.storage.store import Store
from tests.prefect_server import ROOT, TINY, Machine

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


@pytest.mark.server
def test_an_installation_runs_a_sweep_away_from_the_checkout(wheel: Path, machine: Machine) -> None:
    """Dependencies come from the tests' own environment; `.ci/run` installs them anew."""
    environment = machine.directory / "an environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    site = next(environment.glob("lib/python*/site-packages"))
    # A directory that a .pth file names has its own .pth files left alone: the checkout is not seen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    code, text = machine.run(sys.executable, *install, "--force-reinstall", wheel)
    assert code == 0, text

    code, text = machine.run(python, "-c", "import sweepflow; print(sweepflow.__file__)")
    assert Path(text.strip()).is_relative_to(site), text
    code, text = machine.run(environment / "bin" / "sweepflow", "--help")
    assert code == 0 and "llc" in text
    code, text = machine.run(environment / "bin" / "sweepflow", "llc", *TINY)
    assert code == 0, text
    store = Store(machine.directory / "sweepflow-data")
    assert len(list(store.records("est"))) == 1
    assert next((store.root / "sweeps").glob("*/report.html")).stat().st_size > 10_000
