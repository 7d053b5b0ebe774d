"""`sweepflow cancel` of a live SLURM sweep from another shell: nothing is left of it."""

from __future__ import annotations

import pytest

from sweepflow.flows.runs.record import runs
from tests.flows.faults.gates import gated, let_go
from tests.flows.faults.lab import TWO_JOBS, Lab
from tests.prefect_server import Machine
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]


def test_it_ends_in_slurm_in_prefect_and_in_the_table(lab: Lab, office: Machine) -> None:
    overrides = gated(lab, 4, *TWO_JOBS)
    let_go(lab, [0])
    assert lab.slurm is not None
    where = ("--store", lab.store.root)
    driver = office.start("sweepflow", "sweep", *overrides, **lab.slurm.environment)
    lab.mid_batch(workers=2)
    (record,) = runs(lab.store)

    code, text = office.run("sweepflow", "cancel", record.flow_run_id[:8], *where, **lab.slurm.environment)
    assert code == 0 and f"{record.flow_run_id[:8]} is cancelled; what is done is kept" in text, text
    assert driver.process.wait(PATIENCE) == 143, driver.text
    assert "stopped; what is done is kept" in driver.text and "Traceback" not in driver.text
    wait_for(lab.slurm.squeue, "its jobs are gone", until=lambda jobs: not jobs)
    lab.nothing_is_left()
    assert [path.name for path in (lab.store.root / "runs").iterdir()] == [f"{record.flow_run_id}.json"]
    ended, late = lab.lost()
    assert len(ended) == 2 and all(why.startswith("cancelled by ") for why in ended) and not late
    assert str(lab.prefect.newest()) == record.flow_run_id
    assert lab.prefect.see().run.state.name == "Cancelled"
    code, text = office.run("sweepflow", "runs", *where)
    assert code == 0 and "cancelled (cancelled by " in text and " 1/4 " in text, text
