"""SLURM jobs of runs that have ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from sweepflow.flows.runners import slurm
from sweepflow.flows.runners.job_script import NAME
from sweepflow.flows.runners.slurm import QueuedJob
from sweepflow.flows.runs.liveness import Life, is_alive
from sweepflow.flows.runs.record import RunRecord


def jobs_here() -> list[QueuedJob]:
    """Return this user's SLURM jobs that are ours by name; none if there is no SLURM.

    Raises:
        SlurmError: if there is SLURM, but it does not answer.
    """
    if shutil.which("squeue") is None:
        return []
    return [job for job in slurm.queue() if job.name.startswith(NAME)]


def jobs_of(record: RunRecord, jobs: Iterable[QueuedJob]) -> list[QueuedJob]:
    """Return the jobs of a run."""
    if record.job_name is None:
        return []
    return [job for job in jobs if job.name == record.job_name or job.name.startswith(f"{record.job_name}-")]


def end_jobs(record: RunRecord) -> int:
    """End the SLURM jobs of a run.

    Returns:
        Number of the jobs that were ended.
    """
    found = [] if record.job_name is None else jobs_of(record, jobs_here())
    found = [job for job in found if job.state != "COMPLETING"]  # the sweep itself has ended those
    slurm.cancel([job.id for job in found])
    return len(found)


def orphans(records: Iterable[RunRecord]) -> tuple[list[QueuedJob], list[QueuedJob]]:
    """Return jobs that nobody uses: those of runs that have ended, and those that no run here names."""
    jobs = {job.id: job for job in jobs_here()}
    ended: list[QueuedJob] = []
    for record in records if jobs else ():
        for job in jobs_of(record, list(jobs.values())):
            del jobs[job.id]
            if is_alive(record).life is Life.DEAD:
                ended.append(job)
    return ended, list(jobs.values())
