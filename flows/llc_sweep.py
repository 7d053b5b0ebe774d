"""Sweep of N targets x M samplers: build missing targets, sample missing estimates, write a report."""

from __future__ import annotations

from functools import partial

from prefect import get_run_logger, tags
from prefect.runtime import flow_run
from pydantic import NonNegativeInt

from sweepflow.flows.prepare import IncompleteError, collect, command_line, incomplete, prepare, so_far
from sweepflow.flows.run_plan import run_plan
from sweepflow.flows.runners.asked import asked
from sweepflow.flows.runs.heartbeat import beating
from sweepflow.flows.sweep_flow import end, sweep_flow, tables_at_any_end, told
from sweepflow.llc_sweep import LlcSweep
from sweepflow.report.headline import has_result
from sweepflow.streak import MOST
from sweepflow.tasks.report import publish
from sweepflow.words import shortened

__all__ = ["IncompleteError", "llc"]


def _run_name() -> str:
    overrides = flow_run.parameters.get("overrides") or []
    return shortened(" ".join(["llc", *overrides]), 120)


@sweep_flow("llc", _run_name)
def llc(
    overrides: list[str] | None = None,
    config_dir: str | None = None,
    rerun: bool = False,
    max_failures: NonNegativeInt = MOST,
) -> LlcSweep:
    """Estimate the local learning coefficient of N targets with M samplers.

    Args:
        overrides: Hydra overrides, as after `sweepflow llc` in a shell.
        config_dir: A directory of configuration groups of your own.
        rerun: Whether to run again the trials that the store knows. Each record stays until the new record
            replaces it.
        max_failures: Number of calls in a row that may fail alike before the sweep is ended; 0 for any
            number. Trials that share a call of a compiled program count as one.

    Returns:
        The sweep's records, and the location of its tables and report.

    Raises:
        ConfigError: before any work, if anything cannot be run.
        TooManyFailuresError: if too many calls fail alike; running work is stopped, as by Ctrl-C.
        IncompleteError: at the end, if a batch failed; all other results are in the store.
    """
    overrides = overrides or []
    with told(), asked("llc", overrides, config_dir, str(flow_run.id)) as workers:
        plan, store = prepare(overrides, config_dir, rerun, str(flow_run.id))
        get_run_logger().info("%s: %s trials, %s from the store", plan.name, plan.trials, plan.hits)
        command = command_line(overrides, config_dir, rerun)
        with (
            beating(
                store, name=plan.name, command=command, runner=plan.runner.kind, job_name=workers.job_name
            ) as beat,
            tags("sweepflow", plan.name),
        ):
            with tables_at_any_end(lambda: so_far(plan, store, command)):
                outcome = run_plan(plan, store, workers, beat, max_failures)
            sweep = collect(plan, store, command)
            return end(
                beat,
                outcome,
                sweep,
                said=sweep.headline,
                well=has_result(sweep.estimates or [*sweep.targets.values()]),
                where=sweep.directory,
                publish=partial(publish, sweep),
                error=incomplete(sweep.missing, plan.trials, outcome.failures),
            )
