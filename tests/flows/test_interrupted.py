"""A sweep that is stopped in the middle leaves no process, keeps what is done, and goes on."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from sweepflow.storage.store import Store
from tests.prefect_server import TINY, Machine
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]

SWEEP = [
    *(override for override in TINY if not override.startswith("sampler.thinning")),
    "target.seed=1,2",
    "sampler.thinning=1,15000",
    "sampler.step_size=1e-4",
    "runner.batch_size=1",
    "runner.workers=1",
]
"""Two targets; for each an estimate that is there at once, and one that takes seconds."""


def ids(store: Store) -> set[str]:
    return {record.id for prefix in ("tgt", "est") for record in store.records(prefix)}


@pytest.mark.parametrize(
    ("sent", "to_the_group", "code"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 128 + signal.SIGTERM),
        (signal.SIGKILL, False, -signal.SIGKILL),
    ],
    ids=["Ctrl-C", "kill", "kill -9"],
)
def test_a_stopped_sweep(machine: Machine, sent: signal.Signals, to_the_group: bool, code: int) -> None:
    store = Store(machine.directory / "sweepflow-data")
    running = machine.start("sweepflow", "llc", *SWEEP)
    running.wait_for(lambda text: text.count("Completed") == 4)  # a slow one is on the devices
    server = psutil.Process(running.process.pid).children(recursive=True)
    assert server, "the embedded server"

    (os.killpg if to_the_group else os.kill)(running.process.pid, sent)

    assert running.process.wait(PATIENCE) == code, running.text
    _, alive = psutil.wait_procs(server, timeout=PATIENCE)
    assert not alive, "it left a process behind"
    assert ("stopped; what is done is kept" in running.text) is (sent is not signal.SIGKILL)
    assert "Traceback" not in running.text
    tables = list(store.root.glob("sweeps/*/results.csv"))
    assert ("tables and report so far" in running.text) is bool(tables) is (sent is not signal.SIGKILL)
    kept = ids(store)
    assert 4 <= len(kept) < 6, "it was to be stopped in the middle"
    assert not list(store.root.rglob("*.tmp"))
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/??/*.json")}

    exit_code, text = machine.run("sweepflow", "llc", *SWEEP)

    assert exit_code == 0, text
    assert f"trials {6 - len(kept)}/{6 - len(kept)}, {len(kept)} from the store" in text
    assert len(ids(store)) == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
