"""What is waited for, and what is refused, before a cluster is there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sweepflow.errors import ConfigError
from sweepflow.flows.runners import open_cluster as module
from sweepflow.flows.runners.open_cluster import open_cluster, wait_for_controller
from sweepflow.schema.runner import DaskRunner
from sweepflow.storage.store import Store

RUN = "6cee6bca-0000-4000-8000-000000000000"


def controller(folder: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `scontrol` that says DOWN so many times, and then UP."""
    count, command = folder / "count", folder / "scontrol"
    command.write_text(
        f"#!/bin/sh\necho x >> '{count}'\n"
        f"[ $(wc -l < '{count}') -gt {after} ] && s=UP || s=DOWN\necho Slurmctld is $s\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.05)


@pytest.mark.parametrize(("after", "away"), [(0, False), (2, True)])
def test_a_controller_is_waited_for_and_that_is_said(
    after: int,
    away: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    controller(tmp_path, after, monkeypatch)
    assert wait_for_controller(60, threading.Event()) is away
    said = capsys.readouterr().err
    assert said.count("waiting: SLURM's controller does not answer\n") == away


def test_nobody_waits_for_longer_than_is_stated_or_than_they_want(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller(tmp_path, 10**6, monkeypatch)
    assert not wait_for_controller(0.2, threading.Event())
    end = threading.Event()
    end.set()
    assert not wait_for_controller(60, end)


def test_a_cluster_without_what_it_needs_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.root.parent.mkdir(exist_ok=True)
    store.root.write_text("a file")
    with (
        pytest.raises(ConfigError, match="store"),
        open_cluster(DaskRunner(workers=1), store, RUN, threading.Event()),
    ):
        pass
