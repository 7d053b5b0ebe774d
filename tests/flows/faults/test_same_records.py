"""Every runner carries the same batches to the same records, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweepflow import llc, sweep
from sweepflow.storage.store import Store
from tests.flows.faults.lab import Bits, Lab, bits
from tests.prefect_server import TINY

pytestmark = [pytest.mark.server, pytest.mark.slow]

RUNNERS = [
    pytest.param(("runner=dask", "runner.workers=2"), id="dask"),
    pytest.param(
        ("runner=slurm", "runner.interface=lo", "runner.jobs=1", "runner.cores=2"),
        id="slurm",
        marks=pytest.mark.slurm,
    ),
]
SWEEPS = (
    ("workload=landscape", "learning_rate=0.1,0.01", "keep_path=true"),
    ("workload=digits_mlp", "model.widths=[8]", "epochs=2", "learning_rate=0.1,0.01"),
)
SAMPLING = (
    *TINY,
    "target.seed=1,2",
)


@pytest.mark.parametrize("runner", RUNNERS)
def test_of_both_flows(
    runner: tuple[str, ...],
    store: Store,
    prefect: Any,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    lab = Lab(store, prefect, request.getfixturevalue("slurm") if "runner=slurm" in runner else None)
    expected = local(tmp_path_factory.getbasetemp() / "local runner")
    for overrides in SWEEPS:
        assert sweep(overrides=lab.here(*overrides, *runner)).sound
        assert lab.lost() == ([], [])
    assert len(llc(overrides=lab.here(*SAMPLING, *runner)).estimates) == 2
    assert lab.lost() == ([], [])
    assert bits(store) == expected
    lab.nothing_is_left()


def local(directory: Path) -> dict[str, Bits]:
    """The records of the local runner; made once for each test process."""
    store = Store(directory)
    if not directory.exists():
        for overrides in SWEEPS:
            sweep(overrides=[*overrides, f"store='{directory}'"])
        llc(overrides=[*SAMPLING, f"store='{directory}'"])
    return bits(store)
