"""Output of the command line."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.json import JSON
from rich.table import Table

from sweepflow.engine.workload import Trial
from sweepflow.estimates.agreement import with_disagreements
from sweepflow.estimates.length import short_warmup
from sweepflow.estimates.prepare import PreparedLlc
from sweepflow.flows.cli.documents import print_json, record_document, written
from sweepflow.llc_sweep import LlcSweep
from sweepflow.report.labels import derive_labels, target_key
from sweepflow.report.numbers import counted
from sweepflow.report.terminal import results_table, targets_table
from sweepflow.schema.llc import EstimateConfig
from sweepflow.storage.paths import FOLDERS
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.targets.workload import target_trial
from sweepflow.words import aligned, shortened

MAX_TRIALS = 20
"""Maximum number of trials that a plan lists."""

MAX_LISTED = 200
"""Maximum number of trials in a list from the store, unless all are asked for."""
MAX_LABEL = 60
"""Maximum number of characters that say what varies."""

FILE_WIDTH = 140
"""Number of columns if the output is not a terminal, so that ids and reasons stay on their lines."""

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else FILE_WIDTH)


def print_sweep(sweep: LlcSweep) -> None:
    """Print the results table, and the paths of the report and the tables."""
    console.print(results_table(sweep.estimates, sweep.targets))
    for line in (
        f"report:  {sweep.report}",
        f"tables:  {sweep.directory / 'results.csv'}, results.parquet",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def print_plan(prepared: PreparedLlc) -> None:
    """Print groups and batches, store hits and misses, and the first trials."""
    plan = prepared.plan
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "group", "batch", "trials"):
        table.add_column(column)
    for stage, batches in (("build", plan.batches_of("target")), ("sample", plan.batches_of("llc"))):
        for batch in batches:
            table.add_row(stage, batch.label, f"{batch.number} of {batch.of}", str(len(batch.trials)))
    console.print(
        f"{plan.name}: {len(plan.targets)} targets, {len(plan.estimates)} estimates; "
        f"{plan.hits} of {plan.trials} trials are in the store, {plan.trials - plan.hits} to run "
        f"in {len(plan.batches)} batches",
        highlight=False,
        soft_wrap=True,
    )
    if plan.batches:
        console.print(table)
    targets = {i: _unrun(trial) for i, trial in plan.targets.items()}
    estimates = {i: _unrun(trial) for i, trial in plan.estimates.items()}
    labels = derive_labels(list(estimates.values()), targets)
    listed = [(i, labels.target[i]) for i in targets]
    listed += [(i, f"{labels.sampler[i]} on {labels.target[target_key(e)]}") for i, e in estimates.items()]
    for trial_id, label in listed[:MAX_TRIALS]:
        state = "known " if trial_id in plan.known else "to run"
        console.print(f"  {trial_id}  {state}  {label}", highlight=False, soft_wrap=True)
    if plan.trials > MAX_TRIALS:
        console.print(f"  and {plan.trials - MAX_TRIALS} more", highlight=False)
    short = Counter(filter(None, (short_warmup(trial.config.sampler) for trial in plan.estimates.values())))
    for words, times in short.items():
        console.print(f"note: {counted(times, 'estimate')}: {words}", highlight=False, soft_wrap=True)
    print_again(prepared.store, {*plan.targets, *plan.estimates} - plan.known.keys())


def print_again(store: Store, to_run: Iterable[str]) -> None:
    """Print how many of the trials to run have results, which a rerun replaces."""
    records = store.known(to_run).values()
    if again := sum(record.status != "failed" for record in records):
        words = f"{counted(again, 'trial')} to run are known: each record stays until its new one is there"
        console.print(f"note: {words}", highlight=False, soft_wrap=True)


def _unrun(trial: Trial[Any]) -> Record:
    """Convert a trial to a record without results, for labels."""
    config = trial.config.model_dump(mode="json")
    figures = {}
    if isinstance(trial.config, EstimateConfig):
        figures["target_id"] = target_trial(trial.config.target).id
    return Record(trial.id, "", 0, "ok", (), config, figures)


def print_targets(store: Store) -> None:
    """Print every target that the store knows."""
    console.print(targets_table({record.id: record for record in store.records("tgt")}, ids=True))


def print_estimates(store: Store) -> None:
    """Print every estimate that the store knows."""
    targets = {record.id: record for record in store.records("tgt")}
    console.print(results_table(with_disagreements(list(store.records("est"))), targets, ids=True))


def print_trial_records(store: Store, everything: bool = False, prefix: str = "trl") -> None:
    """Print the trials of hyperparameter sweeps that the store knows, or the jobs, by the time of writing.

    Args:
        store: The store.
        everything: Whether to print more than the newest `MAX_LISTED`.
        prefix: `trl`, or `job` for jobs.
    """
    kind = FOLDERS[prefix]
    known = sorted(store.records(prefix), key=written)
    if not known:
        console.print(
            f"there are no {kind} in {store.root}; for another store add --store DIR",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        return
    shown = known if everything else known[-MAX_LISTED:]
    jobs = {record.id: " ".join(record.config["overrides"]) for record in shown if prefix == "job"}
    varying = jobs or _what_varies(shown)
    rows = [("id", "written (UTC)", "workload", "status", "what varies", "reason")]
    rows += [
        (
            record.id,
            written(record)[0][:19].replace("T", " "),
            record.workload,
            record.status,
            shortened(varying[record.id], MAX_LABEL),
            record.reasons[0] if record.reasons else "",
        )
        for record in shown
    ]
    # Lines rather than a table of rich's, which wraps cells and takes long for ten thousand rows.
    console.out("\n".join(aligned(rows)), highlight=False)
    if len(shown) < len(known):
        console.out(f"the newest {len(shown)} of {len(known)} {kind}; --all lists them all", highlight=False)


def _what_varies(records: Sequence[Record]) -> dict[str, str]:
    """Return a few words, by id, that tell each record from the others of its workload."""
    by_workload: dict[str, dict[str, Record]] = {}
    for record in records:
        by_workload.setdefault(record.workload, {})[record.id] = record
    found: dict[str, str] = {}
    for members in by_workload.values():
        for trial_id, label in derive_labels([], members).target.items():
            # Labels are told apart by digits of the id, which is in its own column here.
            words = label.removesuffix(f" #{trial_id.rpartition('_')[2][:6]}")
            found[trial_id] = "" if words == trial_id else words
    return found


def beside_others(record: Record, store: Store) -> Record:
    """Return an estimate with its disagreements with other estimates of its target, as in the tables."""
    if record.workload != "llc":
        return record
    target = record.figures.get("target_id")
    others = [one for one in store.records("est") if one.figures.get("target_id") == target]
    return next((one for one in with_disagreements(others) if one.id == record.id), record)


def print_record(record: Record, command_line: str = "", as_json: bool = False) -> None:
    """Print one record as JSON, and the command line of an external program as it would be typed.

    Args:
        record: The record.
        command_line: The command line; empty if the trial was no external program.
        as_json: Whether other programs read it, which need no colours.
    """
    content = record_document(record) | ({"command_line": command_line} if command_line else {})
    if as_json:
        print_json(content)
    else:  # not wrapped: a line feed within a text would be no JSON
        console.print(JSON(json.dumps(content, ensure_ascii=False)), soft_wrap=True)


def print_comparisons(comparisons: Sequence[Any]) -> None:
    """Print estimates beside the values that are known in closed form."""
    from sweepflow.verify import comparison_table

    console.print(comparison_table(comparisons))
