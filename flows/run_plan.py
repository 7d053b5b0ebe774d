"""Run the plan of an LLC sweep: build targets, and sample a group as soon as its own targets are built."""

from __future__ import annotations

from sweepflow.estimates.plan import Plan
from sweepflow.flows.job import Job, Outcome
from sweepflow.flows.run_jobs import run_jobs
from sweepflow.flows.runners.asked import Asked
from sweepflow.flows.runs.heartbeat import Beat
from sweepflow.storage.store import Store
from sweepflow.streak import MOST
from sweepflow.targets.workload import target_trial
from sweepflow.tasks.progress import SweepProgress


def run_plan(
    plan: Plan, store: Store, workers: Asked, beat: Beat | None = None, max_failures: int = MOST
) -> Outcome:
    """Run every batch of the plan, and show the progress.

    Args:
        plan: The plan to run.
        store: Store that keeps the results.
        workers: Workers that run the batches.
        beat: Signs of life of the run, which are told of the progress. The trials are leased to this run
            while they run.
        max_failures: Number of calls in a row that may fail alike before the sweep is ended; 0 for any
            number.

    Raises:
        TooManyFailuresError: if too many calls fail alike.
    """
    jobs = [Job("target", batch) for batch in plan.target_batches]
    for batch in plan.estimate_batches:
        needs = frozenset(target_trial(trial.config.target).id for trial in batch.trials)
        jobs.append(Job("llc", batch, needs=needs))
    calls = {trial.id: job.batch.name for job in jobs for trial in job.batch.trials}
    tell, leases = (None, None) if beat is None else (beat.note, beat.leases)
    shown = SweepProgress(plan.name, (), 0, plan.hits, tell=tell, store=store, max_failures=max_failures)
    outcome = Outcome() if beat is None else Outcome(states=beat.states)
    with shown as progress:
        if not plan.batches:  # no workers are asked for
            return outcome
        progress.expect(calls, plan.batches, calls)
        with workers.pool(plan.runner, store) as pool:
            run_jobs(jobs, plan.runner, store, progress, pool, outcome, leases)
    return outcome
