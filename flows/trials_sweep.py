"""A hyperparameter sweep: draw configurations, run the trials that the store lacks in batches, report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from prefect import get_run_logger, tags
from prefect.runtime import flow_run
from pydantic import NonNegativeInt

from sweepflow.flows.job import Outcome
from sweepflow.flows.prepare import incomplete
from sweepflow.flows.prepare_trials import Prepared, SweepOptions, collect_trials, prepare_trials
from sweepflow.flows.run_trials import Ran, best_so_far, run_trials
from sweepflow.flows.runners.asked import asked
from sweepflow.flows.runs.heartbeat import beating
from sweepflow.flows.sweep_flow import end, sweep_flow, tables_at_any_end, told
from sweepflow.report.headline import has_result
from sweepflow.report.trials.headline import outcome_of
from sweepflow.space import Method
from sweepflow.streak import MOST
from sweepflow.tasks.progress import SweepProgress
from sweepflow.tasks.report import publish_trials
from sweepflow.trials.draw import DesignOptions
from sweepflow.trials.modes import Mode
from sweepflow.trials.result import TrialsSweep, note_in_manifest
from sweepflow.words import shortened


def _run_name() -> str:
    overrides = flow_run.parameters.get("overrides") or []
    return shortened(" ".join(["sweep", *overrides]), 120)


@sweep_flow("sweep", _run_name)
def sweep(
    overrides: list[str] | None = None,
    samples: int | None = None,
    method: Method = "sobol",
    design_seed: int = 0,
    repeats: int | None = None,
    table: str | None = None,
    mode: Mode = "batched",
    halving: int | None = None,
    pad_widths: bool = False,
    metric: str | None = None,
    goal: Literal["minimize", "maximize"] | None = None,
    config_dir: str | None = None,
    rerun: bool = False,
    max_failures: NonNegativeInt = MOST,
) -> TrialsSweep:
    """Run a workload with many configurations, in few compiled programs.

    Args:
        overrides: Hydra overrides, as after `sweepflow sweep` in a shell: a workload, a grid, a space.
        samples: Number of configurations to draw from the space; 64 if it is not given.
        method: sobol, halton, latin_hypercube, random or grid.
        design_seed: Seed of the design, and of the seeds of repeats.
        repeats: Number of trials of every configuration, each with its own seed.
        table: A file of configurations to run instead of drawing any.
        mode: batched, sequential, or auto, which takes the mode that it predicts to be cheaper.
        halving: Successive halving: after each rung, one in this many trials goes on.
        pad_widths: Whether MLPs that differ in their widths share one compiled program.
        metric: The figure that decides which trial is best.
        goal: Whether a small or a large metric is good.
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
    options = SweepOptions(
        design=DesignOptions(samples, method, design_seed, repeats, None if table is None else Path(table)),
        mode=mode,
        halving=halving,
        pad_widths=pad_widths,
        metric=metric,
        goal=goal,
        config_dir=config_dir,
        rerun=rerun,
    )
    with told(), asked("sweep", overrides or [], config_dir, str(flow_run.id)) as workers:
        prepared = prepare_trials(overrides or [], options, str(flow_run.id))
        plan = prepared.plan
        get_run_logger().info("%s: %s trials, %s from the store", plan.name, plan.trials, plan.hits)
        directory = prepared.store.paths.sweep(plan.name)
        note_in_manifest(directory, "started", command=prepared.command, trials=plan.trials, known=plan.hits)
        with (
            beating(
                prepared.store,
                name=plan.name,
                command=prepared.command,
                runner=plan.runner.kind,
                job_name=workers.job_name,
            ) as beat,
            tags("sweepflow", plan.name),
        ):
            ran = Ran(Outcome(states=beat.states))
            with (
                tables_at_any_end(lambda: _so_far(prepared, ran)),
                SweepProgress(
                    plan.name,
                    (),
                    0,
                    plan.hits,
                    best_so_far(prepared),
                    beat.note,
                    prepared.store,
                    max_failures,
                ) as progress,
            ):
                run_trials(prepared, options, progress, workers, beat.leases, ran)
            found = collect_trials(prepared, ran.notes, ran.stopped)
            return end(
                beat,
                ran.outcome,
                found,
                said=outcome_of(found.view),
                well=has_result(found.trials),
                where=found.directory,
                publish=partial(publish_trials, found),
                error=incomplete(found.missing, plan.trials, ran.outcome.failures),
            )


def _so_far(prepared: Prepared, ran: Ran) -> str:
    """Write the tables of a sweep that was stopped early, and return a message about it."""
    found = collect_trials(prepared, ran.notes, ran.stopped)
    return f"{outcome_of(found.view)}; tables and report so far: {found.directory}" if found.trials else ""
