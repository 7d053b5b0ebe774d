"""Run batches as Prefect task runs, each as soon as what it needs is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from sweepflow.batching import Batch
from sweepflow.engine.devices import cores
from sweepflow.schema.runner import RunnerConfig
from sweepflow.store.store import Store
from sweepflow.workloads.stop import stop_all
from tasks.batch import run_batch_task
from tasks.progress import SweepProgress

STOP_SECONDS = 10.0
"""Longest wait for external programs that are being ended."""


@dataclass(frozen=True)
class Job:
    """A batch to run.

    Attributes:
        workload: Name of its workload.
        batch: Its trials.
        needs: Ids of trials in other jobs that have to be finished first.
        one_by_one: Whether its trials run one after the other.
    """

    workload: str
    batch: Batch[Any]
    needs: frozenset[str] = frozenset()
    one_by_one: bool = False


def run_jobs(jobs: Sequence[Job], runner: RunnerConfig, store: Store, progress: SweepProgress) -> list[str]:
    """Run every job, each as soon as what it needs is there.

    Returns:
        What failed, in words.
    """
    failures: list[str] = []
    waiting = list(jobs)
    unfinished = {trial.id for job in jobs for trial in job.batch.trials}
    running: dict[PrefectFuture[Any], Job] = {}
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()

    workers = min(8, max(2, cores() // 2)) if runner.workers == "auto" else runner.workers
    with _pool(workers, running) as pool:

        def submit(job: Job, refresh: bool = False) -> None:
            parameters = {
                "workload": job.workload,
                "batch": job.batch,
                "store": str(store.root.absolute()),
                "memory_fraction": runner.memory_fraction,
                "one_by_one": job.one_by_one,
            }
            task = run_batch_task.with_options(refresh_cache=refresh)
            future = pool.submit(task, parameters=parameters)
            running[future] = job
            future.add_done_callback(ended.put)

        def submit_ready() -> None:
            for job in list(waiting):
                if unfinished.isdisjoint(job.needs):
                    waiting.remove(job)
                    submit(job)

        submit_ready()
        while running:
            future = ended.get()
            job = running.pop(future)
            failure = _failure(future)
            state = str(future.state.name)
            ids = {trial.id for trial in job.batch.trials}
            if state == "Cached" and not ids <= store.finished(ids).keys():
                # What Prefect remembers, the store has lost, or it was a failure.
                submit(job, refresh=True)
                continue
            progress.batch_done(job.batch.name, ids, state)
            if failure is not None:
                failures.append(f"{job.batch.name}: {failure}")
            else:
                unfinished -= ids
                submit_ready()
    return failures + [f"{job.batch.name}: what it needs could not be made" for job in waiting]


@contextmanager
def _pool(workers: int, running: Iterable[PrefectFuture[Any]]) -> Iterator[ThreadPoolTaskRunner[Any]]:
    """Threads for batches; closed at the end, but left alone where the sweep is interrupted.

    A batch that is on the devices cannot be stopped: to close the pool is to wait for it. What is still
    queued is taken back, and external programs are ended.
    """
    with ExitStack() as stack:
        pool: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
        try:
            yield stack.enter_context(pool)
        except Exception:
            raise
        except BaseException:  # Ctrl-C, or Prefect's TerminationSignal
            for future in list(running):
                if isinstance(future, PrefectConcurrentFuture):
                    future.wrapped_future.cancel()
            stop_all(STOP_SECONDS)
            stack.pop_all()
            raise


def _failure(future: PrefectFuture[Any]) -> str | None:
    """How a task run failed, or None where it did not.

    `result` and not `wait`: only the former tells of a worker that was lost.
    """
    try:
        future.result()
    except Exception as error:  # whatever a task may raise ends up in the flow's own failure
        return f"{type(error).__name__}: {error}"
    return None
