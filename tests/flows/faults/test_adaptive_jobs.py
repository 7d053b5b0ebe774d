"""`runner.minimum` and `runner.maximum`: jobs come with the work and go with it."""

from __future__ import annotations

from typing import Any

import pytest

from sweepflow.flows.runners import supervision
from tests.flows.faults.gates import gated, let_go
from tests.flows.faults.lab import ON_SLURM, Lab, bits
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]


def test_there_are_as_many_jobs_as_there_is_work_for(
    lab: Lab, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "IDLE_SECONDS", 1.0)
    overrides = gated(lab, 6, *ON_SLURM, "runner.minimum=1", "runner.maximum=3")
    expected = undisturbed(overrides)
    assert lab.slurm is not None
    before = {job.id for job in lab.slurm.squeue(ended=True)}

    def meanwhile() -> None:
        assert lab.slurm is not None
        assert len({begun.job for begun in lab.mid_batch(workers=3, done=0)}) == 3
        let_go(lab, range(5))
        jobs = wait_for(lab.slurm.squeue, "one job is left", until=lambda found: len(found) == 1)
        (last,) = lab.in_flight()
        assert last.job == str(jobs[0].id), "those went that had nothing to do"
        let_go(lab, [5])

    assert lab.sweep(overrides, meanwhile=meanwhile).sound
    assert bits(lab.store) == expected
    assert lab.lost() == ([], []), "to be sent away is no loss"
    assert len({job.id for job in lab.slurm.squeue(ended=True)} - before) == 3, "never more than the maximum"
    assert len(lab.begun()) == 6
    lab.nothing_is_left()
