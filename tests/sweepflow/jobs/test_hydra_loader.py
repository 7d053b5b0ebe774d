"""Configurations as Hydra composes them: what is composed once, and what is left of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import OmegaConf
from packaging.version import Version

from sweepflow.errors import ConfigError
from sweepflow.jobs.hydra_loader import HydraLoader, Loaded, hydra_loader
from tests.slurm.processes import PATIENCE


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HydraLoader]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ConfigStore.instance(), "repo", dict(ConfigStore.instance().repo))
    for name, rate in {"sgd": 0.3, "adam": 0.1}.items():
        ConfigStore.instance().store(group="optim", name=name, node={"name": name, "rate": rate})
    ConfigStore.instance().store(group="deep/er", name="one", node={"in": 1})
    config = {"optim": None, "x": 1, "a": {"b": 1, "c": 2}, "where": "${hydra:runtime.output_dir}/file"}
    with hydra_loader(config, "f", config_dir=None, version_base="1.3", chdir=True) as found:
        yield found


def jobs(loader: HydraLoader, *overrides: str, mode: RunMode = RunMode.MULTIRUN) -> list[Loaded]:
    master = loader.master([], mode)
    return [loader.job(master, text.split(), number) for number, text in enumerate(overrides)]


def test_jobs_that_differ_in_values_are_composed_once(loader: HydraLoader) -> None:
    a, b, c, d = jobs(loader, "optim=sgd x=1", "optim=sgd x=2", "x=3 optim=sgd optim.rate=5", "optim=adam")
    # What Hydra has composed is shared: it has composed as often as there are objects.
    assert a.hydra is b.hydra is c.hydra
    assert a.hydra is not d.hydra
    assert [(job.tree.optim.name, job.tree.optim.rate, job.tree.x) for job in (a, b, c, d)] == [
        ("sgd", 0.3, 1),
        ("sgd", 0.3, 2),
        ("sgd", 5, 3),
        ("adam", 0.1, 1),
    ]
    assert a.params == {"optim": "sgd", "x": 1}


@pytest.mark.parametrize(
    "text",
    [
        "+z=1",
        "++z=1 ++x=2",
        "+optim=sgd +z=1",
        "optim.rate=5 +optim=sgd +optim.steps=3",
        "+optim={rate:3} +optim=sgd optim.name=x",
        "+optim={rate:3} optim.rate=5",
        "+new.b=1 new.b=2 +new.c=[1,2] +new.c=[3]",
        "a.b=2 a.b=3 a={b:4}",
        "a={b:4} a.b=5",
        "~a.c a.b=2 +a.c=7",
        "~x +x=3",
        "+s='a,b' +t=${x}",
    ],
)
def test_values_are_set_as_hydra_sets_them(loader: HydraLoader, text: str) -> None:
    overrides = text.split()
    master = loader.master([], RunMode.MULTIRUN)
    options = loader.job(master, [one for one in overrides if one == "+optim=sgd"], 0)
    ours = loader.job(master, overrides, 1)
    theirs = loader.loader.load_sweep_config(master, overrides)
    expected = OmegaConf.to_container(OmegaConf.masked_copy(theirs, [str(k) for k in theirs if k != "hydra"]))
    assert OmegaConf.to_container(ours.tree) == expected
    assert ours.hydra is options.hydra, "Hydra has not composed again for the values"


def test_groups_of_a_search_path(tmp_path: Path) -> None:
    for name in ("theirs", "mine"):
        (tmp_path / name / f"of_{name}").mkdir(parents=True)
        (tmp_path / name / f"of_{name}" / "one.yaml").write_text("a: 1\n")
    config = {"x": 1, "hydra": {"searchpath": [f"file://{tmp_path}/theirs"]}}
    with hydra_loader(config, "f", config_dir=None, version_base="1.3", chdir=True) as found:
        (job,) = jobs(found, "+of_theirs=one +z=1")
        assert job.tree == {"x": 1, "z": 1, "of_theirs": {"a": 1}}
    with hydra_loader(config, "f", config_dir=None, version_base="1.3", chdir=True) as found:
        master = found.master([f"hydra.searchpath=['file://{tmp_path}/mine']"], RunMode.MULTIRUN)
        assert found.job(master, ["+of_mine=one"], 0).tree.of_mine == {"a": 1}


def test_a_job_has_a_directory_of_its_own(loader: HydraLoader, tmp_path: Path) -> None:
    first, second = jobs(loader, "x=1", "x=2")
    assert Path(first.directory).parent == Path(second.directory).parent
    assert Path(second.directory).name == "1"
    assert Path(second.directory).is_relative_to(tmp_path / "multirun")
    assert second.tree.where == f"{second.directory}/file", "of the job that was composed last"
    (alone,) = jobs(loader, "x=1", mode=RunMode.RUN)
    assert Path(alone.directory).is_relative_to(tmp_path / "outputs")
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_directory_of_the_jobs_values(loader: HydraLoader) -> None:
    master = loader.master(["hydra.sweep.subdir=${x}-${z}"], RunMode.MULTIRUN)
    named = [loader.job(master, [f"x={x}", "+z=1"], 0) for x in (2, 3)]
    assert [Path(job.directory).name for job in named] == ["2-1", "3-1"]
    assert named[0].hydra is named[1].hydra


@pytest.mark.parametrize(
    "text",
    [
        "y=1",
        "optim=rmsprop",
        "x=1,2",
        "x=[1",
        "optim.name.a=1",
        "+x=2",
        "~y",
        "~x=2",
        "+deep=er",
        "++optim=sgd",
    ],
)
def test_what_hydra_refuses(loader: HydraLoader, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        jobs(loader, text)
    assert text in str(error.value)


def test_loaders_in_threads_at_once_do_not_see_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    both = threading.Barrier(2, timeout=PATIENCE)
    config = {"x": 0, "base": "${hydra:runtime.version}", "num": "${hydra:job.num}"}

    def compose(version_base: str) -> None:
        for _ in range(3):
            both.wait()
            with hydra_loader(config, "f", config_dir=None, version_base=version_base, chdir=True) as found:
                both.wait()
                master = found.master([], RunMode.MULTIRUN)
                for number in range(5):
                    with found.composing():
                        assert VersionBase.instance().getbase() == Version(version_base)
                    job = found.job(master, [f"x={number}"], number)
                    assert (job.tree.num, job.tree.x) == (number, number)

    before = (
        GlobalHydra.instance().hydra,
        VersionBase.instance().version_base,
        set(ConfigStore.instance().repo),
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compose, ("1.2", "1.3")))
    assert not HydraConfig.initialized()
    after = (
        GlobalHydra.instance().hydra,
        VersionBase.instance().version_base,
        set(ConfigStore.instance().repo),
    )
    assert after == before


def test_runs_of_one_second_have_directories_of_their_own(loader: HydraLoader, tmp_path: Path) -> None:
    told = ["hydra.sweep.dir=out/${now:%Y}/${now:%M-%S}", "hydra.run.dir=out/${now:%Y}/${now:%M-%S}"]
    taken = []
    for mode in (RunMode.MULTIRUN, RunMode.MULTIRUN, RunMode.RUN):
        master = loader.master(told, mode)
        # As if it were the same second, in this process or in another.
        OmegaConf.set_cache(master, {"now": {("%Y",): "2026", ("%M-%S",): "59-59"}})
        loader.take_directory(master)
        taken.append([Path(loader.job(master, [f"x={x}"], x).directory) for x in (0, 1)])
    out = tmp_path / "out" / "2026"
    assert taken[0] == [out / "59-59" / "0", out / "59-59" / "1"]
    assert taken[1] == [out / "59-59_2" / "0", out / "59-59_2" / "1"]
    assert taken[2] == [out / "59-59_3"] * 2
    # What a user names is taken as it is.
    for told in (
        ["hydra.sweep.dir=here"],
        ["hydra.sweep.dir=of/${now:%Y}"],
        ["hydra.sweep.dir=${x}/${now:%S}"],
    ):
        master = loader.master(told, RunMode.MULTIRUN)
        loader.take_directory(master)
        assert "_2" not in loader.job(master, [], 0).directory
    assert not (tmp_path / "here").exists()


def test_a_directory_that_no_file_system_takes_is_refused(loader: HydraLoader) -> None:
    master = loader.master(["hydra.sweep.subdir=${hydra.job.override_dirname}"], RunMode.MULTIRUN)
    with pytest.raises(ConfigError, match=r"255 bytes(.|\n)*exclude keys"):
        loader.job(master, ["+z=" + "a" * 300], 0)


def test_what_was_set_before_is_set_after() -> None:
    before: Any = HydraConfig.instance().cfg
    names = set(ConfigStore.instance().repo)
    with hydra_loader({"x": 1}, "f", config_dir=None, version_base="1.3", chdir=True) as found:
        jobs(found, "x=2")
        assert HydraConfig.instance().cfg is not before
    assert HydraConfig.instance().cfg is before
    assert set(ConfigStore.instance().repo) == names
    # The first use of Hydra in a process, which has no version yet to go back to.
    code = (
        "from sweepflow.jobs.hydra_loader import hydra_loader\n"
        "with hydra_loader({'x': 1}, 'f', config_dir=None, version_base='1.3', chdir=True): pass\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
