"""Modules beside a workload's file: found, counted in its trials' ids, and loaded again once edited."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepflow.errors import ConfigError
from sweepflow.storage.store import Store
from sweepflow.workloads.load import KEPT, load_workload
from sweepflow.workloads.neighbours import WORLDS

from .conftest import HEAD, PLAIN, run

LOSS = PLAIN + "    return {'loss': config.x * helper.NUMBER}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *filter(None, sys.path)])
    folder = tmp_path / "a folder of mine"
    folder.mkdir()
    worlds = set(WORLDS)
    yield folder
    for world in set(WORLDS) - worlds:
        del WORLDS[world]
    for name in set(sys.modules) - before:
        if "@" in name:  # others leave as those of every test do
            del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_package(folder: Path, text: str) -> None:
    """A workload that gets `helper` by an import, and all but the helpers that such imports lead to."""
    write(
        folder,
        main=text + "\n" + HEAD + LOSS,
        through="import package.inner.helper as helper\n",
        package__in____init__="",
        package__in__inner__in____init__="from . import helper\nfrom .. import constants\n",
        package__in__constants="",
    )


def write_helpers(folder: Path, value: int) -> None:
    places = ("helper", "package__in__helper", "package__in__inner__in__helper", "bare__in__helper")
    write(folder, **dict.fromkeys(places, f"NUMBER = {value}\n"))


def loss_of(path: Any, store: Store) -> float:
    workload = load_workload(str(path))
    return run(workload, [workload.config_type()], store)[0].figures["loss"]


def id_of(path: Any) -> str:
    workload = load_workload(str(path))
    return workload.trial(workload.config_type()).id


IMPORTS = [
    "import helper",
    "import helper as helper",
    "from helper import *\nimport helper",
    "from helper import NUMBER\nclass helper:\n    NUMBER = NUMBER",
    "import package.helper\nhelper = package.helper",
    "from package import helper",
    "from package.inner import helper",
    "import bare.helper as helper",
    "import through\nhelper = through.helper",
    "class Late:\n    @property\n    def NUMBER(self):\n        import helper\n        return helper.NUMBER\n"
    "helper = Late()",
]


@pytest.mark.parametrize("text", IMPORTS, ids=[text.splitlines()[0] for text in IMPORTS])
def test_a_file_imports_what_lies_beside_it_and_an_edit_there_makes_other_trials(
    text: str, folder: Path, store: Store
) -> None:
    write_package(folder, text)
    paths, modules = list(sys.path), set(sys.modules)
    found, ids = [], []
    for value in (2, 3, 2):  # the same number of bytes, within a second
        write_helpers(folder, value)
        found.append(loss_of(folder / "main.py", store))
        ids.append(id_of(folder / "main.py"))
    assert found == [2, 3, 2]
    assert ids[0] == ids[2] != ids[1]
    assert sys.path == paths
    assert not {"helper", "package", "bare", "through"} & (set(sys.modules) - modules)


def remove(*files: Path) -> None:
    for file in files:
        file.unlink()
    importlib.invalidate_caches()


@pytest.mark.parametrize("text", IMPORTS, ids=[text.splitlines()[0] for text in IMPORTS])
def test_a_neighbour_that_is_gone_is_missing_at_once_and_back_once_it_is_back(
    text: str, folder: Path, store: Store
) -> None:
    write_package(folder, text)
    write_helpers(folder, 2)
    main = folder / "main.py"
    planned = load_workload(str(main))
    trial = planned.trial(planned.config_type())
    assert loss_of(main, store) == 2
    remove(*folder.rglob("helper.py"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"No module named|cannot import name 'helper'"):
            loss_of(main, store)
    content = {"id": trial.id, "config": trial.config.model_dump(mode="json")}
    assert load_workload(str(main), content) is planned, "a sweep that runs has what it was planned with"
    write_helpers(folder, 3)
    assert loss_of(main, store) == 3


def test_a_file_that_is_gone_while_its_sweep_runs_is_what_it_was(folder: Path) -> None:
    write(folder, main="import helper\n" + HEAD + LOSS, helper="NUMBER = 2\n")
    main = folder / "main.py"
    workload = load_workload(str(main))
    remove(main)
    assert load_workload(str(main)) is workload
    remove(folder / "helper.py")
    assert load_workload(str(main)) is workload, "as with its whole folder"


def test_a_file_in_an_installed_package_has_what_lies_beside_it(folder: Path, store: Store) -> None:
    package = folder / "site-packages" / "theirs"
    write(package, main="import helper\n" + HEAD + LOSS, helper="NUMBER = 2\n")
    assert loss_of(package / "main.py", store) == 2


def test_two_workloads_whose_neighbours_have_the_same_name(folder: Path, store: Store) -> None:
    for name, number in (("one", 5), ("two", 7)):
        lazy = PLAIN + "    import helper\n    return {'loss': config.x * helper.NUMBER}\n"
        write(folder, **{f"{name}__in__{name}": HEAD + lazy, f"{name}__in__helper": f"NUMBER = {number}\n"})
    one, two = folder / "one" / "one.py", folder / "two" / "two.py"
    assert (loss_of(one, store), loss_of(two, store), loss_of(one, store)) == (5, 7, 5)
    assert id_of(one) != id_of(two)


def test_a_neighbour_wins_over_what_is_installed_and_for_the_workload_only(
    folder: Path, store: Store
) -> None:
    write(folder, main="import colorsys as helper\n" + HEAD + LOSS, colorsys="NUMBER = 4\n")
    assert loss_of(folder / "main.py", store) == 4
    import colorsys

    assert hasattr(colorsys, "rgb_to_hls")


def test_a_folder_that_is_no_package_does_not_hide_what_is_installed(folder: Path, store: Store) -> None:
    write(
        folder, main="import json\n" + HEAD + PLAIN + "    return {'loss': config.x * len(json.dumps(1))}\n"
    )
    write(folder, json__in__notes="raise RuntimeError\n")
    assert loss_of(folder / "main.py", store) == 1


def test_ids_without_neighbours_are_of_the_file_alone(folder: Path) -> None:
    write(folder, main=HEAD + PLAIN + "    return {'loss': config.x}\n", unused="")
    first = id_of(folder / "main.py")
    write(folder, unused="X = 1\n")
    assert id_of(folder / "main.py") == first


def test_a_neighbour_that_raises_is_told_and_leaves_nothing(folder: Path, store: Store) -> None:
    write(folder, main="import helper\n" + HEAD + LOSS, helper="import not_there_at_all\n")
    worlds = set(WORLDS)
    with pytest.raises(ConfigError, match="No module named 'not_there_at_all'"):
        load_workload(str(folder / "main.py"))
    assert set(WORLDS) == worlds and "main" not in sys.modules
    write(folder, helper="NUMBER = 3\n")
    assert loss_of(folder / "main.py", store) == 3


def test_neighbours_of_versions_that_are_not_kept_are_forgotten(folder: Path) -> None:
    before = set(WORLDS)
    write(folder, main="import helper\n" + HEAD + LOSS)
    for number in range(KEPT + 3):
        write(folder, helper=f"NUMBER = {number}\n")
        load_workload(str(folder / "main.py"))
    assert len(set(WORLDS) - before) == KEPT


PACKAGED = {
    "mod": "from . import helper\n" + HEAD + LOSS,
    "absolute": "from my_package.helper import NUMBER\nfrom my_package import helper\n" + HEAD + LOSS,
    "beside": "import my_neighbour as helper\n" + HEAD + LOSS,
}


@pytest.mark.parametrize("name", PACKAGED)
def test_a_module_of_a_package_is_loaded_again_where_a_neighbour_was_edited(
    name: str, folder: Path, store: Store
) -> None:
    root = folder.parent
    write(root, **{f"my_package__in__{name}": PACKAGED[name], "my_package__in____init__": "KEPT = []\n"})
    path, found, ids = f"my_package.{name}", [], []
    for value in (2, 3, 2):
        write(root, my_package__in__helper=f"NUMBER = {value}\n", my_neighbour=f"NUMBER = {value}\n")
        importlib.invalidate_caches()
        found.append(loss_of(path, store))
        ids.append(id_of(path))
        assert load_workload(path) is load_workload(path)
    assert found == [2, 3, 2]
    assert ids[0] == ids[2] != ids[1]
    package = sys.modules["my_package"]
    write(root, my_package__in__helper="def broken(:\n", my_neighbour="def broken(:\n")
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_workload(path)
    if name != "beside":
        assert package.helper.NUMBER == 2 and sys.modules["my_package.helper"] is package.helper
    importlib.invalidate_caches()
    write(root, my_package__in__helper="NUMBER = 5\n", my_neighbour="NUMBER = 5\n")
    assert loss_of(path, store) == 5
    remove(root / "my_package" / "helper.py", root / "my_neighbour.py")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"helper|my_neighbour"):
            load_workload(path)
    write(root, my_package__in__helper__in____init__="NUMBER = 6\n", my_neighbour="NUMBER = 6\n")
    importlib.invalidate_caches()
    assert loss_of(path, store) == 6, "which may be a package by now"
    remove(root / "my_package" / "helper" / "__init__.py", root / "my_neighbour.py")
    with pytest.raises(ConfigError, match=r"helper|my_neighbour"):
        loss_of(path, store)
