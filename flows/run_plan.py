"""Run the plan of an LLC sweep: build targets, and sample a group as soon as its own targets are there."""

from __future__ import annotations

from flows.run_jobs import Job, run_jobs
from sweepflow.llc.plan import Plan
from sweepflow.store.store import Store
from sweepflow.targets.workload import target_trial
from tasks.progress import SweepProgress


def run_plan(plan: Plan, store: Store) -> list[str]:
    """Run every batch of the plan, with its progress shown.

    Returns:
        What failed, in words.
    """
    jobs = [Job("target", batch) for batch in plan.target_batches]
    for batch in plan.estimate_batches:
        needs = frozenset(target_trial(trial.config.target).id for trial in batch.trials)
        jobs.append(Job("llc", batch, needs=needs))
    missing = [trial.id for job in jobs for trial in job.batch.trials]
    with SweepProgress(plan.name, missing, plan.batches, plan.hits) as progress:
        return run_jobs(jobs, plan.runner, store, progress)
