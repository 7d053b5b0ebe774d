"""Run a plan's batches as Prefect task runs: build, and sample as soon as a group's targets are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any

from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from sweepflow.batching import Batch
from sweepflow.llc.plan import Plan
from sweepflow.store.store import Store
from tasks.batch import run_batch_task
from tasks.progress import SweepProgress


def run_plan(plan: Plan, store: Store, progress: SweepProgress) -> list[str]:
    """Run every batch of the plan, a group's sampling as soon as its own targets are there.

    Returns:
        What failed, in words.
    """
    failures: list[str] = []
    waiting = list(plan.estimate_batches)
    unbuilt = {trial.id for batch in plan.target_batches for trial in batch.trials}
    running: dict[PrefectFuture[Any], tuple[str, Batch[Any]]] = {}
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()

    with _pool(plan.runner.workers, running) as runner:

        def submit(workload: str, batch: Batch[Any], refresh: bool = False) -> None:
            parameters = {
                "workload": workload,
                "batch": batch,
                "store": str(store.root.absolute()),
                "memory_fraction": plan.runner.memory_fraction,
            }
            task = run_batch_task.with_options(refresh_cache=refresh)
            future = runner.submit(task, parameters=parameters)
            running[future] = workload, batch
            future.add_done_callback(ended.put)

        def submit_ready() -> None:
            for batch in list(waiting):
                if unbuilt.isdisjoint(_needs(batch)):
                    waiting.remove(batch)
                    submit("llc", batch)

        for batch in plan.target_batches:
            submit("target", batch)
        submit_ready()
        while running:
            future = ended.get()
            workload, batch = running.pop(future)
            failure = _failure(future)
            state = str(future.state.name)
            ids = {trial.id for trial in batch.trials}
            if state == "Cached" and not ids <= store.finished(ids).keys():
                # What Prefect remembers, the store has lost, or it was a failure.
                submit(workload, batch, refresh=True)
                continue
            progress.batch_done(batch.name, len(ids), state)
            if failure is not None:
                failures.append(f"{batch.name}: {failure}")
            elif workload == "target":
                unbuilt -= ids
                submit_ready()
    return failures + [f"{batch.name}: its targets could not be built" for batch in waiting]


@contextmanager
def _pool(workers: int, running: Iterable[PrefectFuture[Any]]) -> Iterator[ThreadPoolTaskRunner[Any]]:
    """Threads for batches; closed at the end, but left alone where the sweep is interrupted.

    A batch that is on the devices cannot be stopped: to close the pool is to wait for it. What is still
    queued is taken back.
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


def _needs(batch: Batch[Any]) -> set[str]:
    from sweepflow.targets.workload import target_trial

    return {target_trial(trial.config.target).id for trial in batch.trials}
