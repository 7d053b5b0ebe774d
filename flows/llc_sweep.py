"""N targets x M samplers: build what is missing, sample what is missing, report."""

from __future__ import annotations

from prefect import flow, get_run_logger, tags
from prefect.runtime import flow_run

from flows.prepare import IncompleteError, check_complete, collect, command_line, prepare
from flows.run_plan import run_plan
from flows.runners.asked import asked
from flows.runs.heartbeat import beating
from flows.runs.hooks import settle
from flows.runs.reconcile import close_task_runs
from sweepflow.sweep import Sweep
from tasks.report import publish

__all__ = ["IncompleteError", "llc"]


def _run_name() -> str:
    overrides = flow_run.parameters.get("overrides") or []
    return ("llc " + " ".join(overrides))[:120]


@flow(
    name="llc",
    flow_run_name=_run_name,
    validate_parameters=True,
    on_failure=[settle],
    on_crashed=[settle],
    on_cancellation=[settle],
)
def llc(overrides: list[str] | None = None, config_dir: str | None = None, rerun: bool = False) -> Sweep:
    """Estimate the local learning coefficient of N targets with M samplers.

    Args:
        overrides: Hydra overrides, as after `sweepflow llc` in a shell.
        config_dir: A directory of configuration groups of your own.
        rerun: Run again what the store knows; each record stays until the new one takes its place.

    Returns:
        The sweep's records, and where its tables and report are.

    Raises:
        ConfigError: before any work, for anything that cannot be run.
        IncompleteError: at the end, where a batch failed; everything else is in the store.
    """
    overrides = overrides or []
    with asked("llc", overrides, config_dir, str(flow_run.id)) as workers:
        plan, store = prepare(overrides, config_dir, rerun, str(flow_run.id))
        get_run_logger().info("%s: %s trials, %s from the store", plan.name, plan.trials, plan.hits)
        command = command_line(overrides, config_dir, rerun)
        with (
            beating(
                store, name=plan.name, command=command, runner=plan.runner.kind, job_name=workers.job_name
            ) as beat,
            tags("sweepflow", plan.name),
        ):
            outcome = run_plan(plan, store, workers, beat)
            sweep = collect(plan, store, command)
            close_task_runs(flow_run.id, outcome.states)
            publish(sweep)
            check_complete(sweep.missing, plan.trials, outcome.failures)
    return sweep
