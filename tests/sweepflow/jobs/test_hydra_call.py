"""Jobs called as Hydra calls them, where a process has several at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.types import RunMode

from sweepflow.jobs.call import perform
from sweepflow.jobs.hydra_call import AsHydra
from sweepflow.jobs.hydra_loader import HydraLoader, hydra_loader
from sweepflow.jobs.job import Job


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HydraLoader]:
    monkeypatch.chdir(tmp_path)
    with hydra_loader({"x": 1}, "f", config_dir=None, version_base="1.3", chdir=True) as found:
        yield found


def called(loader: HydraLoader, function: Any, *overrides: str) -> Job:
    loaded = loader.job(loader.master(overrides, RunMode.RUN), overrides, 0)
    job = Job(0, (), {}, loaded.tree, {}, loaded.hydra, "f", loaded.directory, "job_0")
    perform(AsHydra(function, Callbacks()), job)
    return job


def test_two_threads_do_not_share_the_directory_of_the_process(loader: HydraLoader) -> None:
    def inner(cfg: Any) -> str:
        return os.getcwd()

    def outer(cfg: Any) -> tuple[Job, Job, Job, str]:
        nested = called(loader, inner, "hydra.run.dir=nested")
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(called, loader, inner, "hydra.run.dir=other").result()
            stays = pool.submit(called, loader, inner, "hydra.run.dir=s", "hydra.job.chdir=false").result()
        return nested, other, stays, os.getcwd()

    before = os.getcwd()
    job = called(loader, outer, f"hydra.run.dir={before}/outer")
    nested, other, stays, within = job.return_value
    assert within == stays.return_value == f"{before}/outer" and os.getcwd() == before
    assert nested.return_value == f"{before}/outer/nested"
    assert other.status == "failed" and "two jobs in threads of one process" in str(other.error)
