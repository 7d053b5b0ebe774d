"""The store's disk is full in the middle of a sweep: it fails and says so, and goes on once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweepflow.errors import IncompleteError, StoreError
from sweepflow.storage.store import Store
from tests.flows.faults.lab import TWO_JOBS, Lab, bits
from tests.slurm.cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB."""
    disk = tmp_path / "a small disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32M", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.filterwarnings("ignore:signs of life cannot be written")
def test_it_fails_and_goes_on_once_there_is_room(
    small_disk: Path, prefect: Any, slurm: Cluster, undisturbed: Any, tmp_path: Path
) -> None:
    lab = Lab(Store(small_disk / "store"), prefect, slurm)
    logs = f"runner.logs='{tmp_path / 'logs'}'"
    overrides = lab.walks([number / 10 for number in range(8)], "steps=200000", logs, *TWO_JOBS)
    expected = undisturbed(overrides)
    ballast = small_disk / "ballast"

    def fill() -> None:
        lab.mid_batch()
        dd = subprocess.run(
            ["dd", "if=/dev/zero", f"of={ballast}", "bs=64k"], capture_output=True, check=False
        )
        assert b"No space left" in dd.stderr

    with pytest.raises((IncompleteError, StoreError), match="No space left on device"):
        lab.sweep(overrides, meanwhile=fill)
    lab.lost()
    assert prefect.see().run.state.name == "Failed"
    ballast.unlink()
    kept = bits(lab.store)
    assert 1 <= len(kept) < 8 and kept.items() <= expected.items()
    lab.nothing_is_left()

    assert lab.sweep(overrides).sound
    assert bits(lab.store) == expected
    lab.nothing_is_left()
