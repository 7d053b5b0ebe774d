"""JSON documents that commands print for other programs. docs/reference/json.md lists their keys."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic_core import to_jsonable_python

from sweepflow.schema.fields import recorded

if TYPE_CHECKING:  # what is imported for a document depends on the command
    from sweepflow.batching import Batch
    from sweepflow.engine.workload import Trial
    from sweepflow.estimates.prepare import PreparedLlc
    from sweepflow.flows.runs.leftovers import Leftover
    from sweepflow.flows.runs.record import RunRecord
    from sweepflow.llc_sweep import LlcSweep
    from sweepflow.report.trials.compare import Comparison
    from sweepflow.storage.record import Record
    from sweepflow.storage.store import Store
    from sweepflow.trials.prepare import PreparedTrials
    from sweepflow.trials.result import TrialsSweep
    from sweepflow.verify import Comparison as Verified

Document = dict[str, Any]


def print_json(content: Any, indent: int | None = 2) -> None:
    """Print a JSON document. Numbers that are not finite become null, which every reader of JSON knows.

    Args:
        content: Dicts, sequences, dataclasses and pydantic models of values that JSON has, paths and times.
        indent: Number of spaces that nested content is indented by; None prints one line.
    """
    plain = to_jsonable_python(content, inf_nan_mode="null")
    typer.echo(json.dumps(plain, indent=indent, allow_nan=False))


def record_document(record: Record) -> Document:
    """Return one record whole, without its arrays."""
    return {
        "id": record.id,
        "workload": record.workload,
        "version": record.version,
        "status": record.status,
        "reasons": record.reasons,
        "advice": record.advice,
        "notes": record.notes,
        "figures": dict(record.figures),
        "seconds": dict(record.seconds),
        "config": dict(record.config),
        "provenance": dict(record.provenance),
    }


def records_document(store: Store, prefix: str) -> list[Document]:
    """Return all records of a kind, in the order in which they were written.

    Args:
        store: The store.
        prefix: The beginning of the ids of that kind, such as `est`.
    """
    records = sorted(store.records(prefix), key=written)
    if prefix == "est":
        from sweepflow.estimates.agreement import with_disagreements

        records = with_disagreements(records)
    return [record_document(record) for record in records]


def written(record: Record) -> tuple[str, str]:
    """Return the time when a record was written, and its id, to sort records by."""
    return str(record.provenance.get("written", "")), record.id


def found_document(found: Any) -> Document:
    """Return what a flow has found."""
    from sweepflow.llc_sweep import LlcSweep
    from sweepflow.trials.result import TrialsSweep

    if isinstance(found, LlcSweep):
        return _llc_document(found)
    if isinstance(found, TrialsSweep):
        return _trials_document(found)
    return _verify_document(found)


def _llc_document(sweep: LlcSweep) -> Document:
    return {
        **_sweep_document(sweep),
        "headline": sweep.headline,
        "targets": [record_document(record) for record in sweep.targets.values()],
        "estimates": [record_document(record) for record in sweep.estimates],
    }


def _trials_document(sweep: TrialsSweep) -> Document:
    from sweepflow.report.trials.configurations import best
    from sweepflow.report.trials.headline import headline

    found = best(sweep.view)
    return {
        **_sweep_document(sweep),
        "headline": headline(sweep.view),
        "metric": sweep.view.metric,
        "goal": sweep.view.goal,
        "best": None if found is None else sweep.trials[found.place].id,
        "notes": sweep.notes,
        "trials": [record_document(record) for record in sweep.trials],
    }


def _sweep_document(sweep: LlcSweep | TrialsSweep) -> Document:
    return {
        "name": sweep.name,
        "command": sweep.command,
        "directory": sweep.directory.absolute(),
        "report": sweep.report.absolute(),
        "sound": sweep.sound,
        "missing": sweep.missing,
    }


def _verify_document(comparisons: Sequence[Verified]) -> Document:
    return {
        "sound": all(comparison.within for comparison in comparisons),
        "comparisons": [
            {
                "case": comparison.case.name,
                "sampler": comparison.case.sampler,
                "truth": comparison.case.truth,
                "llc": comparison.llc,
                "llc_mcse": comparison.mcse,
                "error": comparison.error,
                "standard_errors": comparison.standard_errors,
                "within": comparison.within,
                "note": comparison.note,
            }
            for comparison in comparisons
        ],
    }


def llc_plan_document(prepared: PreparedLlc) -> Document:
    """Return the plan of an LLC sweep."""
    plan = prepared.plan
    return {
        **_plan_document(prepared),
        "batches": [
            *(_batch(batch, "build") for batch in plan.batches_of("target")),
            *(_batch(batch, "sample") for batch in plan.batches_of("llc")),
        ],
        "targets": [_planned(trial, plan.known) for trial in plan.targets.values()],
        "estimates": [_planned(trial, plan.known) for trial in plan.estimates.values()],
    }


def trials_plan_document(prepared: PreparedTrials) -> Document:
    """Return the plan of a hyperparameter sweep. With halving, its batches are decided as it goes."""
    plan, halving = prepared.plan, prepared.options.halving
    return {
        **_plan_document(prepared),
        "batches": [] if halving else [_batch(batch, "run") for batch in plan.batches],
        "metric": prepared.aim.metric,
        "goal": prepared.aim.goal,
        "notes": plan.drawn.notes,
        "trials": [
            {
                **_planned(trial, plan.known),
                "group": plan.groups[trial.id],
                "chosen": plan.drawn.rows[trial.id],
                "command_line": plan.workload.typed(trial, prepared.store) or None,
            }
            for trial in plan.drawn.trials.values()
        ],
    }


def _plan_document(prepared: PreparedLlc | PreparedTrials) -> Document:
    return {
        "name": prepared.plan.name,
        "command": prepared.command,
        "store": prepared.store.root.absolute(),
        "runner": prepared.plan.runner.kind,
    }


def _batch(batch: Batch[Any], stage: str) -> Document:
    return {
        "stage": stage,
        "group": batch.label,
        "number": batch.number,
        "of": batch.of,
        "trials": [trial.id for trial in batch.trials],
    }


def _planned(trial: Trial[Any], known: Collection[str]) -> Document:
    return {"id": trial.id, "known": trial.id in known, "config": recorded(trial.config)}


def comparison_document(found: Comparison, report: Path | None) -> Document:
    """Return two sweeps side by side, and the path of the page if there is one."""
    return {
        "title": found.title,
        "sweeps": found.names,
        "report": None if report is None else report.absolute(),
        "rows": [{"what": row["what"], "values": [row[name] for name in found.names]} for row in found.rows],
    }


def run_document(record: RunRecord) -> Document:
    """Return what a run's file says, with the run's actual state."""
    from sweepflow.flows.runs.table import actual_state

    return record.model_dump(mode="json") | {"state": actual_state(record)}


def leftover_document(item: Leftover) -> Document:
    """Return one thing that a sweep has left behind."""
    return {
        "kind": item.kind,
        "name": item.name,
        "why": item.why,
        "age_seconds": item.age,
        "size_bytes": item.size,
        "run": None if item.run is None else item.run.flow_run_id,
        "foreign": item.foreign,
    }
