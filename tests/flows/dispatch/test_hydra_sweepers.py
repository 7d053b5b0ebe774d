"""The grid of `hydra_multirun`: Hydra's own, but that labels say what jobs get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from sweepflow.errors import ConfigError
from sweepflow.flows.dispatch.hydra_sweepers import grid_of
from sweepflow.jobs.hydra_loader import HydraLoader, Loaded, hydra_loader

CONFIG = {
    "defaults": ["_self_", {"db@src": "my"}, {"db@dst": "my"}],
    "x": 0,
    "opt": {"name": "sgd", "lr": 0.5},
}


@pytest.fixture(scope="module")
def loader() -> Iterator[HydraLoader]:
    repository = ConfigStore.instance()
    before, repository.repo = repository.repo, dict(repository.repo)
    for name in ("my", "pg"):
        repository.store(group="db", name=name, node={"name": name})
    with hydra_loader(CONFIG, "f", config_dir=None, version_base="1.3", chdir=False) as found:
        yield found
    repository.repo = before


def texts_of(loader: HydraLoader, *overrides: str) -> list[list[str]]:
    master = loader.master(overrides, RunMode.MULTIRUN)
    return [job for batch in grid_of(loader, master, list(master.hydra.overrides.task)) for job in batch]


def jobs(loader: HydraLoader, *overrides: str) -> list[Loaded]:
    master = loader.master(overrides, RunMode.MULTIRUN)
    return [loader.job(master, texts, 0) for texts in texts_of(loader, *overrides)]


@pytest.mark.parametrize(
    "overrides",
    [
        [r"x=1,'2',a\,b,'c d',null,1e-3,True", "opt.lr=range(0,3)"],
        ["db@src=glob(*)", "x=1", "x=2,3", "opt.name=a,b"],
        ["+new=[1,2],{a:1}", "++x=sort(3,1,2)", "~opt.name"],
        ["x=1,1", "opt.lr=0.5"],
    ],
)
def test_the_jobs_are_those_of_hydras_own_sweeper(loader: HydraLoader, overrides: list[str]) -> None:
    parsed = OverridesParser.create(config_loader=loader.loader).parse_overrides(overrides)
    assert texts_of(loader, *overrides) == BasicSweeper.split_arguments(parsed, None)[0]


def test_labels_say_what_jobs_get(loader: HydraLoader) -> None:
    for text, values in {
        "x=str(1,2)": ["1", "2"],
        "x=sort('2','1')": ["1", "2"],
        "x=float(1,2)": [1.0, 2.0],
    }.items():
        found = jobs(loader, text)
        assert repr([job.tree.x for job in found]) == repr(values)
        assert repr([job.params["x"] for job in found]) == repr(values)
    found = jobs(loader, "x=shuffle(range(0,30))", "opt.name=shuffle([1,2,3])")
    assert sorted(job.tree.x for job in found) == list(range(30)) != [job.tree.x for job in found]
    assert len({str(job.tree.opt.name) for job in found}) == 1, "an element is shuffled once for all"
    for job in found[:3]:
        (again,) = jobs(loader, *job.overrides)
        assert again.tree == job.tree and job.params == {"x": job.tree.x, "opt.name": job.tree.opt.name}


def test_a_single_run_has_one_order(loader: HydraLoader) -> None:
    master = loader.master(["x=shuffle([1,2,3,4,5,6])"], RunMode.RUN)
    job = loader.job(master, list(master.hydra.overrides.task), 0)
    assert job.overrides == (f"x={job.tree.x}".replace(" ", ""),)
    assert list(master.x) == list(job.tree.x) == job.params["x"]


def test_groups_have_packages(loader: HydraLoader) -> None:
    found = jobs(loader, "db@src=my,pg", "db@dst=pg")
    assert [job.params for job in found] == [{"db@src": name, "db@dst": "pg"} for name in ("my", "pg")]
    assert [(job.tree.src.name, job.tree.dst.name) for job in found] == [("my", "pg"), ("pg", "pg")]


def test_the_later_one_wins(loader: HydraLoader) -> None:
    found = jobs(loader, "opt={name:sgd,lr:0.1},{name:adam,lr:0.2}", "opt.lr=9")
    assert [(job.tree.opt.name, job.tree.opt.lr) for job in found] == [("sgd", 9), ("adam", 9)]
    assert [job.params["opt"]["lr"] for job in found] == [9, 9]
    (job,) = jobs(loader, "opt.lr=1", "opt={lr:2}", "opt.lr=3")
    assert job.tree.opt.lr == 3, "which Hydra's own forgets"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["opt.lr=1,2", "opt={lr:3},{lr:4}"], "opt.lr is swept, and opt"),
        (["x=interval(0,1)"], "interval is a distribution"),
        (["x=tag(log,range(1,9))"], "a tag says nothing here: log"),
        (["x=glob(*.nothing)"], "no file matches"),
        (["db@src=glob(z*)"], "no values"),
        (["x=range(0,inf)"], "no range"),
        (["x=[1"], "not an override in Hydra's grammar"),
    ],
)
def test_what_is_refused(loader: HydraLoader, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        texts_of(loader, *overrides)
    assert all(text in str(error.value) for text in overrides)


def test_files(loader: HydraLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b c.npz", "a.npz"):
        (tmp_path / name).touch()
    found: list[Any] = [OmegaConf.select(job.tree, "x") for job in jobs(loader, "x=glob(*.npz)")]
    assert found == ["a.npz", "b c.npz"]
