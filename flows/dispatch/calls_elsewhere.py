"""Jobs of a Python callable on the workers of a runner, in batches like trials of any other workload."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from prefect.runtime import flow_run

from sweepflow.batching import WorkUnit, slices
from sweepflow.engine.devices import worker_count
from sweepflow.errors import SweepflowError
from sweepflow.flows.dispatch.batches import run_units
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.runners.asked import Asked
from sweepflow.flows.runners.pool import Pool
from sweepflow.flows.runs.heartbeat import beating
from sweepflow.flows.runs.reconcile import close_task_runs
from sweepflow.flows.server.waiting import await_server, patience
from sweepflow.jobs.call import recall
from sweepflow.jobs.job import Job, summary, well
from sweepflow.jobs.plan import JobPlan
from sweepflow.jobs.sent import NAME, WORKLOAD, NotCalledError, sending, share, why_job_failed
from sweepflow.schema.runner import DaskRunner, SlurmRunner
from sweepflow.storage.record import Record
from sweepflow.streak import CALL_ON
from sweepflow.tasks.progress import SweepProgress, TooManyFailuresError

BATCHES_EACH = 4
"""Number of batches for each worker, so that a worker that is slow or lost delays little."""
MOST_JOBS = 32
"""Maximum number of jobs in a batch if the user has set no batch size. The results of the jobs are seen only
when the batch has ended."""


class BatchesFailedError(SweepflowError):
    """Batches have failed, and some of their jobs were not called; each of these jobs says so."""


class _FirstError(Exception):
    """A job has failed, and the other jobs are no longer needed."""


@contextmanager
def jobs_elsewhere(
    plan: JobPlan, runner: DaskRunner | SlurmRunner, *, cache: bool, raises: bool, max_failures: int
) -> Iterator[Callable[[Iterable[Job]], None]]:
    """Provide a function that calls jobs on workers, which are asked for when the first job needs one.

    Args:
        plan: The jobs.
        runner: Runner on whose workers they run.
        cache: Whether to take the value of a job from the store, if it has one, and not to call the job.
        raises: Whether the first job that fails ends the others, and its exception is raised.
        max_failures: Number of calls in a row that may fail alike; 0 for any number.

    Raises:
        TooManyFailuresError: if that many calls in a row fail alike.
        BatchesFailedError: at the end, if a batch has failed.
    """
    run_id, store = str(flow_run.id), plan.callee.store
    hits = sum(recall(plan.callee, job) for job in plan.jobs) if cache else 0
    workers = Asked(runner, store.root, run_id) if hits < len(plan.jobs) or not plan.jobs else Asked()
    outcome = Outcome()
    failed = 0

    def close_batches(kind: object, error: BaseException | None, trace: object) -> None:
        if await_server(patience(error)):
            close_task_runs(run_id, outcome.states)

    def remark(record: Record) -> str:
        nonlocal failed
        failed += why_job_failed(record) is not None
        if failed and raises:
            raise _FirstError
        return f"{failed} failed" if failed else ""

    with ExitStack() as stack:
        stack.push(close_batches)
        stack.callback(workers.close)
        beat = stack.enter_context(
            beating(
                store,
                name=plan.name,
                command=shlex.join(["python", *sys.argv]),
                runner=runner.kind,
                job_name=workers.job_name,
            )
        )
        sender = stack.enter_context(sending(plan.callee, run_id))
        progress = stack.enter_context(
            SweepProgress(
                plan.name,
                (),
                0,
                hits,
                remark,
                beat.note,
                sender.calls,
                max_failures,
                why_failed=why_job_failed,
                advice=CALL_ON,
            )
        )
        pools: list[Pool] = []

        def launch(jobs: Iterable[Job]) -> None:
            sent: dict[str, Job] = {}
            firsts: dict[str, Job] = {}
            twins: list[tuple[Job, Job]] = []
            trials = []
            for job in jobs:
                if cache and (job.from_store or recall(plan.callee, job)):
                    continue
                first = firsts.setdefault(job.fingerprint, job)
                if cache and first is not job:
                    twins.append((job, first))
                    continue
                trials.append(sender.send(job))
                sent[trials[-1].id] = job
            if not trials:
                return
            if not pools:
                pools.append(stack.enter_context(workers.pool(runner, store)))
            most = min(MOST_JOBS, -(-len(trials) // (BATCHES_EACH * worker_count(runner))))
            batches = slices(NAME, trials, most if runner.batch_size == "auto" else runner.batch_size)
            progress.expect(sent, len(batches))
            said, too_many = Outcome(), None
            parts = [WorkUnit(WORKLOAD.path, batch) for batch in batches]
            try:
                with suppress(_FirstError):
                    run_units(parts, runner, sender.calls, progress, pools[0], said)
            except TooManyFailuresError as error:
                too_many = error
            outcome.add(said)
            for trial in trials:
                sender.receive(trial.id, sent[trial.id], said.why.get(trial.id, ""))
            for job, first in twins:
                share(first, job)
            if too_many is not None:
                raise too_many
            errors = [job.error for job in sent.values() if job.error is not None]
            if raises and errors:  # rather one that a job has raised
                raise min(errors, key=lambda error: isinstance(error, NotCalledError))

        yield launch
        if not well(plan.jobs):
            beat.ends("failed", summary(plan.jobs))
        if outcome.failures:
            raise BatchesFailedError("batches have failed", got="; ".join(outcome.failures))
