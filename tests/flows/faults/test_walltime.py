"""A batch that is longer than its jobs' walltime: it is passed on, to the same bits as in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepflow import llc
from sweepflow.errors import IncompleteError
from sweepflow.storage.store import Store
from tests.flows.faults.lab import Lab, bits
from tests.prefect_server import TINY

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

SAMPLING = [
    *(override for override in TINY if "draws" not in override),
    "sampler.draws=120",
]
CLOCK = """
import sys

if "distributed.cli.dask_worker" in sys.orig_argv:
    from sweepflow.engine import segments

    asked, real = [], segments.has_to_leave

    def has_to_leave(now, leave_at, call, cost):
        asked.append(now)
        return real(leave_at if len(asked) > 2 else now, leave_at, call, cost)

    segments.has_to_leave = has_to_leave
"""
"""A worker's clock, by which the walltime is over after two calls of a program: how long starting, compiling
and a call take is the machine's, and a walltime is a minute at least. Two calls are of 65 points at most, so
that the batch takes several workers."""


def test_a_batch_that_is_passed_on(lab: Lab, tmp_path: Path) -> None:
    alone = Store(tmp_path / "alone")
    llc(overrides=[*SAMPLING, f"store='{alone.root}'"])
    clock = tmp_path / "clock" / "sitecustomize.py"
    clock.parent.mkdir()
    clock.write_text(CLOCK)
    runner = (
        *("runner=slurm", "runner.interface=lo", "runner.partition=short", "runner.walltime=00:01:00"),
        f"runner.prologue=['export PYTHONPATH=\"{clock.parent}\"']",
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
    # On a busy machine a job may end before its worker has left by itself.
    assert all("stopped at point" in why for why in lab.lost()[0])
    lab.nothing_is_left()
