"""The process of a sweep is ended from outside: its jobs go with it, and it can be gone on with."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.flows.faults.lab import TWO_JOBS, Lab, bits
from tests.prefect_server import Machine
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]


# Nobody tells the jobs of a process that is killed: their workers see that it is gone.
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_it_leaves_no_job_and_goes_on_as_the_same_run(
    sent: signal.Signals, lab: Lab, office: Machine, undisturbed: Any
) -> None:
    overrides = lab.walks([number / 10 for number in range(8)], "steps=500000", *TWO_JOBS)
    expected = undisturbed(overrides)
    driver = office.start("sweepflow", "sweep", *overrides, **lab.slurm.environment)
    lab.mid_batch()
    run = lab.prefect.newest()

    os.kill(driver.process.pid, sent)
    driver.process.wait(PATIENCE)
    wait_for(lab.slurm.squeue, "its jobs are gone", until=lambda jobs: not jobs)
    assert "Traceback" not in driver.text, driver.text
    assert 1 <= len(bits(lab.store)) < 8, "it was to be ended in the middle"
    if sent is not signal.SIGKILL:
        lab.lost()

    code, text = office.run("sweepflow", "resume", "--store", lab.store.root, **lab.slurm.environment)
    assert code == 0, text
    assert bits(lab.store) == expected
    assert lab.prefect.newest() == run
    lab.lost()
    assert lab.prefect.see().run.state.name == "Completed"
    lab.nothing_is_left()
