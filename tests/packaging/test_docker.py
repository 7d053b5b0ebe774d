"""The image's recipe, read: nothing here has a Docker engine to build it with."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.prefect_server import ROOT

RECIPE = (ROOT / "docker" / "Dockerfile").read_text()
LINES = [line for line in RECIPE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
COPIED = [source.rstrip("/") for line in LINES if line.startswith("COPY ") for source in line.split()[1:-1]]


def test_every_source_is_there_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    admitted = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    for source in COPIED:
        assert (ROOT / source).exists(), source
        assert source in admitted, f".dockerignore keeps {source} from the builder"


def test_everything_that_the_wheel_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, "pyproject.toml", project["project"]["readme"]} <= set(COPIED)


def test_the_pinned_tree_is_installed() -> None:
    installs = [line for line in LINES if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert "constraints.txt" in COPIED


def test_the_command_runs_as_nobody_special() -> None:
    users = [line.split()[1] for line in LINES if line.startswith("USER ")]
    assert users and users[-1] != "root"
    position = {word: RECIPE.rindex(f"\n{word} ") for word in ("RUN", "USER", "ENTRYPOINT")}
    assert position["RUN"] < position["USER"] < position["ENTRYPOINT"]
    assert 'ENTRYPOINT ["sweepflow"]' in LINES


def test_the_python_is_one_that_the_project_supports() -> None:
    image = re.fullmatch(r"FROM python:(\d+)\.(\d+)-slim", LINES[0])
    assert image
    assert (int(image[1]), int(image[2])) >= (3, 11)


@pytest.mark.parametrize(
    "name", ["constraints.txt", "pyproject.toml", "docker/Dockerfile", ".ci/run", "Makefile"]
)
def test_no_package_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"index-url|extra-index|find-links|trusted-host|https?://", text)


def test_every_pin_is_exact() -> None:
    for line in (ROOT / "constraints.txt").read_text().split():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line
