"""A job with two workers is lost, and both with it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.flows.faults.gates import gated, let_go
from tests.flows.faults.lab import ON_SLURM, Begun, Lab, bits
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

TWO_WORKERS = (*ON_SLURM[:2], "runner.memory=512MB", "runner.jobs=1", "runner.cores=2")


def cancel(lab: Lab, begun: Begun) -> None:
    assert lab.slurm is not None
    lab.slurm.cancel(int(begun.job))


def kill(lab: Lab, begun: Begun) -> None:
    starter = psutil.Process(begun.pid).parent()
    assert starter is not None and "sweepflow.flows.runners.worker" in starter.cmdline()
    os.kill(starter.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("fault", "why"), [(cancel, "job {} was|job {}: CANCELLED"), (kill, "job {}: FAILED, signal 9")]
)
def test_two_workers_are_lost_and_one_job_replaces_them(
    fault: Callable[[Lab, Begun], None],
    why: str,
    lab: Lab,
    undisturbed: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    overrides = gated(lab, 4, *TWO_WORKERS)
    expected = undisturbed(overrides)
    lost: list[str] = []

    def meanwhile() -> None:
        (job,) = {begun.job for begun in lab.mid_batch(workers=2, done=0)}
        lost.append(job)
        fault(lab, lab.in_flight()[0])

        def elsewhere() -> bool:
            return [begun.job != job for begun in lab.in_flight()] == [True, True]

        wait_for(elsewhere, "both batches run in another job")
        let_go(lab, range(4))

    assert lab.sweep(overrides, meanwhile=meanwhile).sound
    again, late = lab.lost()
    assert len(again) == 2 and not late
    assert all(re.match(why.format(*lost * 2), reason) for reason in again), again
    assert bits(lab.store) == expected
    assert len({begun.job for begun in lab.begun()}) == 2
    assert len(lab.begun()) == 4 + 2, "only what was in flight is begun twice"
    said = capfd.readouterr().err
    assert "workers lost: 2" in said and "workers lost: 3" not in said and "2 workers lost;" in said, said
    lab.nothing_is_left()
