"""What the command line prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.table import Table

from sweepflow.llc.plan import Plan
from sweepflow.report.terminal import results_table, targets_table
from sweepflow.store.record import Record
from sweepflow.store.store import Store
from sweepflow.sweep import Sweep

MAX_TRIALS = 20
"""Trials that a plan lists."""

console = Console(soft_wrap=False)


def print_sweep(sweep: Sweep) -> None:
    """The results table, and where everything lies."""
    console.print(results_table(sweep.estimates, sweep.targets))
    for line in (
        f"report:  {sweep.report}",
        f"tables:  {sweep.directory / 'results.csv'}, results.parquet",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def print_plan(plan: Plan) -> None:
    """Groups and batches, store hits and misses, and the first trials."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "group", "batch", "trials"):
        table.add_column(column)
    for stage, batches in (("build", plan.target_batches), ("sample", plan.estimate_batches)):
        for batch in batches:
            table.add_row(stage, batch.label, f"{batch.number} of {batch.of}", str(len(batch.trials)))
    console.print(
        f"{plan.name}: {len(plan.targets)} targets, {len(plan.estimates)} estimates; "
        f"{plan.hits} of {plan.trials} trials are in the store, {plan.trials - plan.hits} to run "
        f"in {plan.batches} batches",
        highlight=False,
        soft_wrap=True,
    )
    if plan.batches:
        console.print(table)
    for trial_id in [*plan.targets, *plan.estimates][:MAX_TRIALS]:
        state = "known" if trial_id in plan.known else "to run"
        console.print(f"  {trial_id}  {state}", highlight=False)
    if plan.trials > MAX_TRIALS:
        console.print(f"  and {plan.trials - MAX_TRIALS} more", highlight=False)


def print_targets(store: Store) -> None:
    """Every target the store knows."""
    records = {record.id: record for record in store.records("tgt")}
    console.print(targets_table(records))
    _print_ids(list(records.values()))


def print_estimates(store: Store) -> None:
    """Every estimate the store knows."""
    targets = {record.id: record for record in store.records("tgt")}
    estimates = list(store.records("est"))
    console.print(results_table(estimates, targets))
    _print_ids(estimates)


def _print_ids(records: Sequence[Record]) -> None:
    for record in records:
        console.print(f"{record.id}  {record.status}", highlight=False)


def print_record(record: Record) -> None:
    """One record as JSON."""
    content: dict[str, Any] = {
        name: getattr(record, name)
        for name in (
            "id",
            "workload",
            "version",
            "status",
            "reasons",
            "figures",
            "seconds",
            "config",
            "provenance",
        )
    }
    console.print(JSON(json.dumps(content, ensure_ascii=False)))


def print_comparisons(comparisons: Sequence[Any]) -> None:
    """Estimates beside what is known in closed form."""
    from sweepflow.verify import comparison_table

    console.print(comparison_table(comparisons))
