"""Output of the command line for sweeps of trials."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from sweepflow.flows.cli.print import MAX_TRIALS, console, print_again
from sweepflow.report.numbers import counted, reads_alike, setting
from sweepflow.report.trials.compare import Comparison
from sweepflow.report.trials.terminal import trials_table
from sweepflow.trials.halving import rungs
from sweepflow.trials.prepare import PreparedTrials
from sweepflow.trials.result import TrialsSweep


def print_trials(sweep: TrialsSweep) -> None:
    """Print the best configurations, the notes of the sweep, and the paths of its files."""
    console.print(trials_table(sweep.view))
    for note in sweep.notes:
        console.print(f"note:    {note}", highlight=False, soft_wrap=True, markup=False)
    lines = [
        f"report:  {sweep.report}",
        f"tables:  {sweep.directory / 'runs.csv'}, configurations.csv, and both as .parquet",
    ]
    if sweep.best is not None:
        lines.append(f"best:    {sweep.directory / 'best.yaml'}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def print_trials_plan(prepared: PreparedTrials) -> None:
    """Print groups and batches, store hits and misses, notes on the design, and the first trials."""
    plan, halving = prepared.plan, prepared.options.halving
    groups = counted(len(set(plan.groups.values())), "group")
    state = f"{plan.hits} are in the store, {plan.trials - plan.hits} to run in {len(plan.batches)} "
    state += "batch" if len(plan.batches) == 1 else "batches"
    console.print(
        f"{plan.name}: {counted(plan.trials, 'trial')} in {groups}; "
        + (state if halving is None else "run to their ends only where halving lets them"),
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    if plan.batches and halving is None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("group", "batch", "trials"):
            table.add_column(column)
        for batch in plan.batches[:MAX_TRIALS]:
            table.add_row(batch.label, f"{batch.number} of {batch.of}", str(len(batch.trials)))
        console.print(table)
        if len(plan.batches) > MAX_TRIALS:
            console.print(f"  and {len(plan.batches) - MAX_TRIALS} more batches", highlight=False)
    if halving is not None:
        epochs = {trial.config.epochs for trial in plan.drawn.trials.values()}
        stops = "; ".join(", ".join(map(str, rungs(number, halving))) for number in sorted(epochs))
        console.print(
            f"note: halving compares after epochs {stops}, and one in {halving} goes on: what runs then, and"
            " what of it is in the store, shows as it goes",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    guessed = [f"{prepared.aim.better}; --goal says otherwise"] if prepared.aim.guessed else []
    print_again(prepared.store, plan.drawn.trials.keys() - plan.known.keys())
    for note in (*plan.drawn.notes, *guessed):
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    rows = plan.drawn.rows.values()
    whole = {key for key in {key for row in rows for key in row} if reads_alike(key, rows)}
    for trial_id, row in list(plan.drawn.rows.items())[:MAX_TRIALS]:
        state = "known " if trial_id in plan.known else "to run"
        words = " ".join(f"{key}={setting(value, key in whole)}" for key, value in row.items())
        console.print(f"  {trial_id}  {state}  {words}", highlight=False, soft_wrap=True, markup=False)
        if line := plan.workload.typed(plan.drawn.trials[trial_id], prepared.store):
            console.print(f"    $ {line}", highlight=False, soft_wrap=True, markup=False)
    if plan.trials > MAX_TRIALS:
        console.print(f"  and {plan.trials - MAX_TRIALS:,} more", highlight=False)


def print_comparison(found: Comparison, output: Path | None) -> None:
    """Print two sweeps side by side, and the path of the page if there is one."""
    console.print(found.table())
    if output is not None:
        console.print(f"report:  {output}", highlight=False, soft_wrap=True, markup=False)
