"""A batch that is longer than its jobs' walltime: it is passed on, to the same bits as in one go."""

from __future__ import annotations

import pytest

from flows import llc
from flows.prepare import IncompleteError
from sweepflow.store.store import Store
from tests.flows.faults.lab import Lab, bits
from tests.prefect_server import TINY

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

WORKING_SECONDS = 8
"""Of a job, with its start: a walltime is a minute at least, and a test has less."""
SAMPLING = (
    *(override for override in TINY if "thinning" not in override),
    "sampler.thinning=150000",
)


def test_a_batch_that_is_passed_on(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    alone = Store(tmp_path_factory.mktemp("alone"))
    llc(overrides=[*SAMPLING, f"store='{alone.root}'"])
    runner = (
        *("runner=slurm", "runner.interface=lo", "runner.partition=short", "runner.walltime=00:01:00"),
        f"runner.prologue=['export SWEEPFLOW_LEAVE_AT=$(( $(date +%s) + {WORKING_SECONDS} ))']",
    )
    sweep = llc(overrides=lab.here(*SAMPLING, *runner))
    assert [record.status for record in sweep.estimates] == [r.status for r in alone.records("est")]
    assert bits(lab.store) == bits(alone)
    assert lab.lost() == ([], []), "nobody was lost"
    left = [task for task in lab.prefect.see().tasks if task.state.name == "Checkpointed"]
    assert len(left) >= 2, "it was passed on"
    assert not [path for path in lab.store.root.rglob("*") if "checkpoint" in path.name and path.is_file()]
    lab.nothing_is_left()


def test_a_walltime_that_is_too_short_to_get_on_ends_the_sweep(lab: Lab) -> None:
    at_once = "runner.prologue=['export SWEEPFLOW_LEAVE_AT=$(( $(date +%s) + 1 ))']"
    runner = ("runner=slurm", "runner.interface=lo", at_once)
    with pytest.raises(IncompleteError, match=r"3 workers in a row had to leave.*longer runner.walltime"):
        llc(overrides=lab.here(*TINY, *runner))
    assert lab.prefect.see().run.state.name == "Failed"
    assert lab.lost() == ([], [])
    lab.nothing_is_left()
