"""Workers that die between two batches, and one that dies under a batch: one is lost, and one is told."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import psutil
import pytest

from sweepflow.flows.dispatch.blame import MOST_LOSSES
from sweepflow.flows.runners.cluster import Cluster
from sweepflow.flows.runners.roster import Roster
from sweepflow.storage.store import Store
from tests.flows.faults.gated import gate
from tests.flows.faults.gates import GATED, let_go
from tests.flows.faults.lab import Lab
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow]


def kill_at(address: str) -> None:
    """Kill the process that listens there, and wait for its end."""
    port = int(address.rpartition(":")[2])
    (pid,) = {c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
    assert pid is not None
    process = psutil.Process(pid)
    assert "--no-nanny" in process.cmdline(), "a worker"
    process.kill()
    wait_for(lambda: not psutil.pid_exists(pid) or process.status() == "zombie", "it has ended")


def test_only_a_batch_that_had_begun_has_lost_its_worker(
    store: Store, prefect: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(store, prefect)
    given: list[int] = []
    kills: Counter[str] = Counter()
    submit, give, ended = Cluster.submit, Roster.give, Roster.ended

    def submit_and_note(self: Cluster, task: Any, parameters: dict[str, Any]) -> Any:
        given.append(parameters["batch"]["number"])
        return submit(self, task, parameters)

    def give_to_the_dying(self: Roster, start: Any, *is_there: Any) -> Any:
        def start_too_late(address: str) -> Any:
            if given[-1] == 1 and kills["given"] < MOST_LOSSES:
                kills["given"] += 1
                kill_at(address)
            return start(address)

        return give(self, start_too_late, *is_there)

    def end_and_die(self: Roster, future: Any) -> bool:
        address = self._running[future].address
        well = ended(self, future)
        if well and not kills["done"]:
            kills["done"] += 1
            kill_at(address)
        return well

    monkeypatch.setattr(Cluster, "submit", submit_and_note)
    monkeypatch.setattr(Roster, "give", give_to_the_dying)
    monkeypatch.setattr(Roster, "ended", end_and_die)

    store.root.mkdir(parents=True)
    gate(store.root, 2).touch()

    def kill_under_the_second() -> None:
        (held,) = lab.mid_batch(done=0)
        os.kill(held.pid, signal.SIGKILL)
        let_go(lab, [2])

    overrides = lab.here(
        f"workload='{GATED}'", "number=range(0,8)", "runner.batch_size=2", "runner=dask", "runner.workers=2"
    )
    found = lab.sweep(overrides, meanwhile=kill_under_the_second)

    said = capfd.readouterr().err
    assert found.sound
    assert kills == {"given": MOST_LOSSES, "done": 1}
    assert said.count("lost the worker of") == 1, said
    assert "lost the worker of gated, batch 2 of 4" in said, said
    begun = Counter(batch.ids for batch in lab.begun())
    assert sorted(begun.values()) == [1, 1, 1, 2], "no other is begun twice"
    assert all(len(ids) == 2 for ids in begun), "and none is bisected"
    again, _ = lab.lost()
    assert len([why for why in again if "had gone before it began" not in why]) == 1, again
    lab.nothing_is_left()
