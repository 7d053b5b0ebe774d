"""Modules that are loaded as workloads, and loaded again once their files have changed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweepflow.errors import ConfigError
from sweepflow.storage.store import Store
from sweepflow.workloads.load import is_importable, load_workload

from .conftest import BOWL, HEAD, PLAIN, run

PACKAGE = "package_of_a_user"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a package in it whose modules are forgotten afterwards."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *filter(None, sys.path)])
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def losing(number: int, head: str = "") -> str:
    """A module whose loss is a number of one digit: its size is always the same."""
    return head + HEAD + PLAIN + f"    return {{'loss': config.x * {number}}}\n"


def loss_of(workload: Any, store: Store) -> float:
    return run(workload, [workload.config_type()], store)[0].figures["loss"]


WRONG: list[tuple[str, str, str]] = [
    ("x = 1\n", "is no workload", "a class Config"),
    ("class Config:\n    pass\ndef run(config, inputs, key): ...\n", "is no workload", "a class Config"),
    (HEAD + "class Config(Base):\n    pass\nrun = 3\n", "is no workload", "a function run"),
    ("import not_there_at_all\n", "cannot be imported", "ModuleNotFoundError: No module named"),
    ("def broken(:\n", "cannot be imported", "SyntaxError"),
    ("raise RuntimeError('as I please')\n", "cannot be imported", "as I please"),
    (HEAD + "GOAL = 'max'\n" + PLAIN + "    return {}\n", "is no direction", "minimize or maximize"),
]


@pytest.mark.parametrize(("text", "what", "part"), WRONG, ids=[row[1] + " " + row[2] for row in WRONG])
def test_modules_that_cannot_be_used(text: str, what: str, part: str, module: Callable[..., str]) -> None:
    path = module(text)
    with pytest.raises(ConfigError) as caught:
        load_workload(path)
    assert what in caught.value.what
    assert part in str(caught.value)
    assert Path(path).stem in str(caught.value)
    # Mended, it can be loaded in the same process.
    Path(path).write_text(HEAD + PLAIN + "    return {'loss': config.x}\n")
    assert load_workload(path).name == Path(path).stem


def test_a_name_that_is_taken(module: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="loaded already") as caught:
        load_workload(module(BOWL, "json"))
    assert caught.value.do == "rename json.py"
    assert "dumps" in vars(sys.modules["json"])
    sys.modules["json"] = __import__("json")


def test_module_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"package_{tmp_path.name}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "bowl.py").write_text(BOWL)
    broken = tmp_path / f"broken_{name}"
    broken.mkdir()
    (broken / "__init__.py").write_text("import not_there_at_all\n")
    (broken / "bowl.py").write_text(BOWL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert is_importable(f"{name}.bowl")
    assert sys.path[0] == str(tmp_path), "the directory that the command is typed in"
    workload = load_workload(f"{name}.bowl")
    assert workload.name == workload.path == f"{name}.bowl"
    assert workload.run.label(workload.config_type()) == "bowl points=4"
    for absent in ("", ".bowl", f"{name}.dent", f"{name}.bowl.deeper", "not_there.bowl", "no.py"):
        assert not is_importable(absent), absent
    assert is_importable(f"{broken.name}.bowl"), "it is there, and loading it says what is wrong"
    with pytest.raises(ConfigError, match="not_there_at_all"):
        load_workload(f"{broken.name}.bowl")


def test_a_workload_that_is_ready() -> None:
    from sweepflow.workloads.train import WORKLOAD

    assert load_workload("train") is WORKLOAD


def test_a_file_that_was_edited_is_loaded_again(module: Callable[..., str], store: Store) -> None:
    """In one process, such as a notebook's: the second of two edits in one second is as long as the first."""
    path = module(losing(1, "GOAL = 'maximize'\n"))
    first = load_workload(path)
    assert load_workload(path) is first and loss_of(first, store) == 1
    found = []
    for number in (2, 3):
        Path(path).write_text(losing(number))
        workload = load_workload(path)
        assert workload is not first and not workload.goals, "nothing of the old module is left"
        assert load_workload(path) is workload
        found.append(loss_of(workload, store))
    assert found == [2, 3]


def test_a_module_of_a_package_that_was_edited_is_loaded_again(package: Path, store: Store) -> None:
    name = f"{PACKAGE}.losing"
    (package / "losing.py").write_text(losing(1))
    assert loss_of(load_workload(name), store) == 1
    (package / "losing.py").write_text(losing(2))
    workload = load_workload(name)
    assert loss_of(workload, store) == 2
    assert sys.modules[name].run is importlib.import_module(PACKAGE).losing.run, "as an import would find it"
    assert workload.config_type is sys.modules[name].Config


def test_a_module_that_was_imported_before_its_edit_is_loaded_anew(package: Path, store: Store) -> None:
    name, file = f"{PACKAGE}.losing", package / "losing.py"
    file.write_text(losing(1))
    importlib.invalidate_caches()
    importlib.import_module(name)
    file.write_text(losing(2))
    assert loss_of(load_workload(name), store) == 2


def test_a_module_whose_file_is_older_than_the_process_is_executed_once(package: Path) -> None:
    file = package / "losing.py"
    file.write_text(losing(1))
    before = psutil.Process().create_time() - 60
    os.utime(file, (before, before))
    importlib.invalidate_caches()
    imported = importlib.import_module(f"{PACKAGE}.losing")
    assert load_workload(imported.__name__).config_type is imported.Config


def test_an_edit_that_cannot_be_loaded_leaves_what_was_there(module: Callable[..., str]) -> None:
    path = module(losing(1))
    load_workload(path)
    loaded = sys.modules[Path(path).stem]
    Path(path).write_text("def broken(:\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot be imported"):
            load_workload(path)
    assert sys.modules[Path(path).stem] is loaded


def test_trials_of_an_earlier_version_are_never_run_with_the_code_of_another(
    module: Callable[..., str], store: Store
) -> None:
    path = module(losing(1))
    first = load_workload(path)
    trial = first.trial(first.config_type())
    Path(path).write_text(losing(2))
    planned = {"id": trial.id, "config": trial.config.model_dump(mode="json")}
    assert load_workload(path, planned) is first, "which this process still has"
    second = load_workload(path)
    with pytest.raises(ConfigError, match=f"changed after this sweep was planned\n.*{trial.id}") as told:
        second.run.obstacle(trial, store)
    assert "start the same command again" in str(told.value)
    assert second.trial(trial.config).id != trial.id
    assert load_workload(path, planned) is first and load_workload(path) is second
    assert loss_of(first, store) == 1 and loss_of(second, store) == 2


def test_without_a_version_every_change_makes_other_trials(package: Path) -> None:
    def trial_id(text: str) -> str:
        (package / "bowl.py").write_text(text)
        workload = load_workload(f"{PACKAGE}.bowl")
        return workload.trial(workload.config_type()).id

    commented = BOWL + "\n# a remark\n"
    assert trial_id(BOWL) == trial_id(BOWL) != trial_id(commented)
    versioned = "VERSION = 3\n"
    assert trial_id(versioned + BOWL) == trial_id(versioned + commented) != trial_id("VERSION = 4\n" + BOWL)


def test_two_files_of_one_name_are_two_workloads_whatever_their_version(tmp_path: Path) -> None:
    """A file's name is its stem alone: another project may have one of the same name in the same store."""
    ids = []
    for folder, number in (("s1", 1), ("s2", 2), ("moved s1", 1)):
        file = tmp_path / folder / f"same_{tmp_path.name}.py"
        file.parent.mkdir()
        file.write_text(losing(number, "VERSION = 1\n"))
        workload = load_workload(str(file))
        assert workload.name == file.stem and workload.version == 1
        ids.append(workload.trial(workload.config_type()).id)
        del sys.modules[file.stem]
    assert ids[0] == ids[2] != ids[1]
