"""N targets x M samplers: build what is missing, sample what is missing, report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect import flow, get_run_logger, tags
from prefect.futures import PrefectConcurrentFuture, PrefectFuture, as_completed
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.prepare import collect, prepare
from sweepflow.batching import Batch
from sweepflow.errors import SweepflowError
from sweepflow.llc.plan import Plan
from sweepflow.store.store import Store
from sweepflow.sweep import Sweep
from tasks.batch import run_batch_task
from tasks.progress import SweepProgress
from tasks.report import publish


class IncompleteError(SweepflowError):
    """Some batches failed, so the sweep is not complete; what finished is in the store."""


def _run_name() -> str:
    overrides = flow_run.parameters.get("overrides") or []
    return ("llc " + " ".join(overrides))[:120]


@flow(name="llc", flow_run_name=_run_name, validate_parameters=True)
def llc(overrides: list[str] | None = None, config_dir: str | None = None) -> Sweep:
    """Estimate the local learning coefficient of N targets with M samplers.

    Args:
        overrides: Hydra overrides, as after `sweepflow llc` in a shell.
        config_dir: A directory of configuration groups of your own.

    Returns:
        The sweep's records, and where its tables and report are.

    Raises:
        ConfigError: before any work, for anything that cannot be run.
        IncompleteError: at the end, where a batch failed; everything else is in the store.
    """
    overrides = overrides or []
    plan, store = prepare(overrides, config_dir)
    get_run_logger().info("%s: %s trials, %s from the store", plan.name, plan.trials, plan.hits)
    with tags("sweepflow", plan.name), SweepProgress(plan) as progress:
        failures = _run(plan, store, progress)
    sweep = collect(plan, store, " ".join(["sweepflow", "llc", *map(shlex.quote, overrides)]))
    publish(sweep)
    if sweep.missing:
        raise IncompleteError(
            f"{len(sweep.missing)} of {plan.trials} trials have no result",
            got="; ".join(failures)[:1500] or ", ".join(sweep.missing[:10]),
            do="mend the cause and start the same command again: what is done is kept",
        )
    return sweep


def _run(plan: Plan, store: Store, progress: SweepProgress) -> list[str]:
    """Run every batch of the plan, a group's sampling as soon as its own targets are there.

    Returns:
        What failed, in words.
    """
    failures: list[str] = []
    waiting = list(plan.estimate_batches)
    unbuilt = {trial.id for batch in plan.target_batches for trial in batch.trials}
    running: dict[PrefectFuture[Any], tuple[str, Batch[Any]]] = {}

    with _pool(plan.runner.workers, running) as runner:

        def submit(workload: str, batch: Batch[Any], refresh: bool = False) -> None:
            parameters = {
                "workload": workload,
                "batch": batch,
                "store": str(store.root.absolute()),
                "memory_fraction": plan.runner.memory_fraction,
            }
            task = run_batch_task.with_options(refresh_cache=refresh)
            running[runner.submit(task, parameters=parameters)] = workload, batch

        def submit_ready() -> None:
            for batch in list(waiting):
                if unbuilt.isdisjoint(_needs(batch)):
                    waiting.remove(batch)
                    submit("llc", batch)

        for batch in plan.target_batches:
            submit("target", batch)
        submit_ready()
        while running:
            future: PrefectFuture[Any] = next(as_completed(list(running)))
            workload, batch = running.pop(future)
            failure = _failure(future)
            ended = str(future.state.name)
            ids = {trial.id for trial in batch.trials}
            if ended == "Cached" and not ids <= store.known(ids).keys():
                submit(workload, batch, refresh=True)  # the store has lost what Prefect remembers
                continue
            progress.batch_done(batch.name, len(ids), ended)
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
