"""Jobs of runs that have ended, on a real SLURM."""

from __future__ import annotations

import os

import pytest

from sweepflow.flows.runs.cancel import cancel
from sweepflow.flows.runs.leftover_jobs import end_jobs, jobs_here, orphans
from sweepflow.flows.runs.leftovers import leftovers, remove
from sweepflow.flows.runs.liveness import process_start, this_host, this_machine
from sweepflow.flows.runs.record import RunRecord, get_run, write_run
from sweepflow.storage.store import Store
from tests.flows.runs.test_record import record
from tests.slurm.cluster import Cluster
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slow]


def run_with_jobs(slurm: Cluster, name: str, jobs: int, **given: object) -> tuple[RunRecord, list[str]]:
    """A run of this machine whose process is gone, and jobs of its name."""
    ids = [slurm.submit("sleep 300", f"--job-name={name}") for _ in range(jobs)]
    for job in ids:
        slurm.reaches(job, "RUNNING")
    where = {"host": this_host(), "machine": this_machine(), "job_name": name, "runner": "slurm"}
    return record(**{**where, **given}), [str(job) for job in ids]


def are_left(slurm: Cluster, ids: set[str]) -> bool:
    """Whether just these jobs are left; SLURM takes a moment to end others."""

    def left() -> bool:
        return {str(job.id) for job in slurm.squeue() if job.state != "COMPLETING"} == ids

    return bool(wait_for(left, f"jobs {ids} alone"))


def test_jobs_of_dead_runs_are_orphans_and_those_of_live_ones_are_not(slurm: Cluster, store: Store) -> None:
    alive, used = run_with_jobs(
        slurm, "sweepflow-aaaaaaaa", 1, pid=os.getpid(), pid_started=process_start(os.getpid())
    )
    dead, lost = run_with_jobs(slurm, "sweepflow-bbbbbbbb", 2)
    _, unknown = run_with_jobs(slurm, "sweepflow-cccccccc", 1)
    others = str(slurm.submit("sleep 300", "--job-name=a-colleagues"))
    assert {job.id for job in jobs_here()} == {*used, *lost, *unknown}

    ended, foreign = orphans([alive, dead])
    assert {job.id for job in ended} == set(lost) and {job.id for job in foreign} == set(unknown)

    for run in (alive, dead):
        write_run(store, run)
    items = [item for item in leftovers(store, print) if item.kind == "SLURM job"]
    assert [item.foreign for item in items] == [False, False, True]
    assert remove([item for item in items if not item.foreign]) == []
    assert are_left(slurm, {*used, *unknown, others})

    # The run's own jobs, and no others whose names begin so.
    assert end_jobs(alive.model_copy(update={"job_name": "sweepflow-aaaa"})) == 0
    assert end_jobs(alive) == 1
    assert are_left(slurm, {*unknown, others})


def test_cancel_ends_the_jobs_of_a_dead_run(slurm: Cluster, store: Store) -> None:
    run, _ = run_with_jobs(slurm, "sweepflow-dddddddd", 2, state="cancelled")
    write_run(store, run)
    said: list[str] = []
    cancel(store, run, said.append)
    assert are_left(slurm, set())
    assert any("ended 2 SLURM jobs named sweepflow-dddddddd" in line for line in said)
    assert get_run(store, run.flow_run_id) == run
