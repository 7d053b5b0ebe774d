"""A sweep that is stopped in the middle leaves no process, keeps what is done, and goes on."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from sweepflow.store.store import Store
from tests.prefect_server import TINY, Machine

pytestmark = [pytest.mark.server, pytest.mark.slow]

SWEEP = [*TINY, "target.seed=1,2", "runner.batch_size=1", "runner.workers=1", "sampler.seed=1"]
MINUTES = 4_000_000
"""Draws that take minutes: nobody waits for them here."""


def lines(store: Store) -> list[str]:
    return [record.id for prefix in ("tgt", "est") for record in store.records(prefix)]


@pytest.mark.parametrize(
    ("sent", "to_the_group", "code"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, -signal.SIGTERM),
        (signal.SIGKILL, False, -signal.SIGKILL),
    ],
    ids=["Ctrl-C", "kill", "kill -9"],
)
def test_a_stopped_sweep(machine: Machine, sent: signal.Signals, to_the_group: bool, code: int) -> None:
    store = Store(machine.directory / "sweepflow-data")
    long = [override for override in SWEEP if not override.startswith("sampler.draws")]
    running = machine.start("sweepflow", "llc", *long, f"sampler.draws=10,{MINUTES}")
    # Both targets and the two short estimates; then a long one is on the devices.
    running.wait_for(lambda text: text.count("Completed") == 4)
    server = psutil.Process(running.process.pid).children(recursive=True)
    assert server, "the embedded server"
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/??/*")}

    (os.killpg if to_the_group else os.kill)(running.process.pid, sent)

    assert running.process.wait(30) == code, running.text
    _, alive = psutil.wait_procs(server, timeout=20)
    assert not alive, "it left a process behind"
    assert ("stopped; what is done is kept" in running.text) is (sent is signal.SIGINT)
    assert "Traceback" not in running.text
    assert len(lines(store)) == 4 and not list(store.root.rglob("*.tmp"))

    code, text = machine.run("sweepflow", "llc", *SWEEP, "sampler.chains=2,3")
    assert code == 0, text
    assert "4 from the store" in text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(lines(store)) == 6
