"""A hyperparameter sweep: draw configurations, run the trials that the store lacks in batches, report."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from prefect.client.schemas.objects import State
from pydantic import NonNegativeInt

from sweepflow.compose.place import place
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.ways import best_so_far, run_trials
from sweepflow.flows.orchestrate import Found, named_by_overrides, orchestrate, sweep_flow
from sweepflow.report.headline import has_result
from sweepflow.report.trials.headline import outcome_of
from sweepflow.space import Method
from sweepflow.streak import MOST
from sweepflow.tasks.report import publish_trials
from sweepflow.trials.draw import DesignOptions
from sweepflow.trials.modes import Mode
from sweepflow.trials.prepare import PreparedTrials, SweepOptions, prepare_trials
from sweepflow.trials.result import TrialsSweep


@sweep_flow("sweep", named_by_overrides("sweep"))
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
) -> TrialsSweep | State[TrialsSweep]:
    """Run a workload with many configurations, in few compiled programs.

    >>> from sweepflow import sweep
    >>> found = sweep(["workload=landscape", "optimizer=sgd,adam", "learning_rate=0.001,0.01"])
    >>> len(found.trials)
    4
    >>> sorted({row["optimizer"] for row in found.rows()})
    ['adam', 'sgd']

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
    overrides = overrides or []
    return orchestrate(
        partial(place, "sweep", overrides, config_dir),
        partial(prepare_trials, overrides, options),
        run_trials,
        _find,
        remark=best_so_far,
        max_failures=max_failures,
    )


def _find(prepared: PreparedTrials, outcome: Outcome) -> Found:
    sweep = prepared.collect(outcome.notes, outcome.stopped)
    said, well = outcome_of(sweep.view), has_result(sweep.trials)
    return Found(sweep, said, well, sweep.directory, sweep.missing, partial(publish_trials, sweep))
