"""Run the plan of an LLC sweep: build targets, and sample a group as soon as its own targets are there."""

from __future__ import annotations

from collections.abc import Callable

from flows.run_jobs import Job, Outcome, run_jobs
from flows.runners.asked import Asked
from sweepflow.llc.plan import Plan
from sweepflow.store.store import Store
from sweepflow.targets.workload import target_trial
from tasks.progress import SweepProgress


def run_plan(plan: Plan, store: Store, workers: Asked, tell: Callable[..., None] | None = None) -> Outcome:
    """Run every batch of the plan, with its progress shown.

    Args:
        plan: What to run.
        store: Where results are kept.
        workers: Where batches run.
        tell: Told of the progress, as `SweepProgress` says.
    """
    if not plan.batches:  # no workers are asked for
        return Outcome()
    jobs = [Job("target", batch) for batch in plan.target_batches]
    for batch in plan.estimate_batches:
        needs = frozenset(target_trial(trial.config.target).id for trial in batch.trials)
        jobs.append(Job("llc", batch, needs=needs))
    missing = [trial.id for job in jobs for trial in job.batch.trials]
    with (
        SweepProgress(plan.name, missing, plan.batches, plan.hits, tell=tell) as progress,
        workers.pool(plan.runner, store) as pool,
    ):
        return run_jobs(jobs, plan.runner, store, progress, pool)
