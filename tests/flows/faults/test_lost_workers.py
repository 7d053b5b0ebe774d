"""Workers of a SLURM sweep are lost in every way; it ends with the records of one that nobody disturbed."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from sweepflow.storage.store import Store
from sweepflow.tasks.progress import SweepProgress
from tests.flows.faults.lab import TWO_JOBS, Lab, bits

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

DRIFTS = [number / 10 for number in range(8)]
STEPS = "steps=200000"


def cancel_one(lab: Lab) -> None:
    lab.slurm.cancel(int(lab.mid_batch()[0].job))


def cancel_all(lab: Lab) -> None:
    lab.slurm.cancel(*(int(begun.job) for begun in lab.mid_batch(workers=2)))


def kill_a_worker(lab: Lab) -> None:
    os.kill(lab.mid_batch()[0].pid, signal.SIGKILL)


def requeue(lab: Lab) -> None:
    lab.slurm.requeue(int(lab.mid_batch()[0].job))


def down(lab: Lab) -> None:
    job = int(lab.mid_batch()[0].job)
    lab.slurm.set_node(lab.slurm.job(job).node, "down")


@pytest.mark.parametrize(
    ("fault", "lost", "why"),
    [
        (cancel_one, 1, "CANCELLED"),
        (cancel_all, 2, "CANCELLED"),
        (kill_a_worker, 1, "a worker process of job .* was killed"),
        (requeue, 1, "was requeued"),
        (down, 1, "was requeued|NODE_FAIL"),
    ],
)
def test_what_is_lost_is_run_again(
    fault: Callable[[Lab], None],
    lost: int,
    why: str,
    lab: Lab,
    undisturbed: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides = lab.walks(DRIFTS, STEPS, *TWO_JOBS)
    expected = undisturbed(overrides)
    found = lab.sweep(overrides, meanwhile=lambda: fault(lab))

    assert found.sound
    again, late = lab.lost()
    assert len(again + late) <= lost, "at most one batch a worker"
    assert all(re.search(why, reason) for reason in again + late), (again, late)
    assert bits(lab.store) == expected
    times = Counter(i for begun in lab.begun() for i in begun.ids)
    assert sum(times.values()) == len(DRIFTS) + len(again), "only what was in flight is computed twice"
    said = capfd.readouterr().err
    assert f"workers lost: {lost}" in said, said
    lab.nothing_is_left()


def test_processes_of_this_machine_are_replaced(
    store: Store, prefect: Any, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(store, prefect)
    shown: list[str] = []
    monkeypatch.setattr(SweepProgress, "points", lambda self, name, done, of: shown.append(name))
    overrides = lab.walks(DRIFTS, STEPS, "runner=dask", "runner.workers=2")

    def kill_all() -> None:
        for begun in lab.mid_batch(workers=2):
            starter = psutil.Process(begun.pid).parent()
            assert starter is not None and "sweepflow.flows.runners.worker" in starter.cmdline()
            starter.kill()  # it would start its worker again

    assert lab.sweep(overrides, meanwhile=kill_all).sound
    again, late = lab.lost()
    assert len(again + late) <= 2
    assert all("its processes ended with -9" in reason for reason in again + late), (again, late)
    assert len(set(shown)) == len(DRIFTS), "how far each batch was has come from its worker"
    assert bits(lab.store) == undisturbed(overrides)
    assert len(lab.begun()) == len(DRIFTS) + len(again)
    lab.nothing_is_left()
