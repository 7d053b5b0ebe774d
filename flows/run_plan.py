"""Run the plan of an LLC sweep: build targets, and sample a group as soon as its own targets are there."""

from __future__ import annotations

from flows.run_jobs import Job, Outcome, run_jobs
from flows.runners.asked import Asked
from flows.runs.heartbeat import Beat
from sweepflow.llc.plan import Plan
from sweepflow.store.store import Store
from sweepflow.targets.workload import target_trial
from tasks.progress import SweepProgress


def run_plan(plan: Plan, store: Store, workers: Asked, beat: Beat | None = None) -> Outcome:
    """Run every batch of the plan, with its progress shown.

    Args:
        plan: What to run.
        store: Where results are kept.
        workers: Where batches run.
        beat: Told of the progress; and whose leases the trials are while they run.
    """
    if not plan.batches:  # no workers are asked for
        return Outcome()
    jobs = [Job("target", batch) for batch in plan.target_batches]
    for batch in plan.estimate_batches:
        needs = frozenset(target_trial(trial.config.target).id for trial in batch.trials)
        jobs.append(Job("llc", batch, needs=needs))
    missing = [trial.id for job in jobs for trial in job.batch.trials]
    tell, leases = (None, None) if beat is None else (beat.note, beat.leases)
    with (
        SweepProgress(plan.name, missing, plan.batches, plan.hits, tell=tell) as progress,
        workers.pool(plan.runner, store) as pool,
    ):
        return run_jobs(jobs, plan.runner, store, progress, pool, leases)
