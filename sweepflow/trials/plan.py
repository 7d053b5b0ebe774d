"""The trials that have to be run: all trials except those that the store has, in batches."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax

from sweepflow.batching import Batch, Plan, WorkUnit, batches, slices
from sweepflow.engine.devices import worker_count
from sweepflow.engine.program import call_lanes
from sweepflow.engine.workload import Trial, Workload
from sweepflow.report.labels import flatten, told_apart
from sweepflow.schema.fields import NOT_STATIC, dump
from sweepflow.schema.locations import refuse_other_files
from sweepflow.schema.runner import RunnerConfig
from sweepflow.storage.store import Store
from sweepflow.trials.draw import Drawn
from sweepflow.workloads import SweepWorkload

MOST_BATCHES = 4
"""Maximum number of batches that a group is cut into automatically."""
WORKER_DEVICES = 2
"""JAX devices of a worker process: it has one core, and programs are compiled for at least this many."""
SMALLEST_BATCH = 16
"""A group of at most this many trials is one batch."""


@dataclass(frozen=True)
class TrialsPlan(Plan):
    """A sweep of one workload, before any work.

    Attributes:
        workload: Workload of every trial.
        drawn: The trials, and how they were chosen.
        groups: Group of each trial, in words.
    """

    workload: SweepWorkload[Any]
    drawn: Drawn
    groups: Mapping[str, str]

    @property
    def trials(self) -> int:
        """Number of trials asked for."""
        return len(self.drawn.trials)


def make_plan(
    workload: SweepWorkload[Any],
    drawn: Drawn,
    runner: RunnerConfig,
    store: Store,
    name: str | None,
    halving: int | None = None,
    *,
    again: bool = False,
) -> TrialsPlan:
    """Look the trials up in the store, and cut the missing ones into batches.

    Args:
        workload: Workload of every trial.
        drawn: The trials.
        runner: Runner of their batches.
        store: Store with the known records.
        name: Name of the sweep; None makes a name from the trials.
        halving: One in this many trials continues after a rung; the number is part of the name.
        again: Whether to run all trials, even if the store has them.

    Raises:
        ConfigError: if the store's record of a trial was made from another file.
    """
    known = {} if again else store.finished(drawn.trials)
    for record in known.values():
        refuse_other_files(record.id, drawn.trials[record.id].config, record.config)
    asked = [*sorted(drawn.trials), *([] if halving is None else [f"halving={halving}"])]
    digest = hashlib.sha256(" ".join(asked).encode()).hexdigest()
    name = name or f"sweep-{digest[:8]}"
    trials = {i: replace(t, config=workload.within(t.config, name)) for i, t in drawn.trials.items()}
    notes = [*drawn.notes, *_unheeded(workload, runner)]
    missing = [trial for i, trial in trials.items() if i not in known]
    groups = group_labels(workload, list(trials.values()))
    cuts = labelled(cut_for(runner, workload, missing), groups)
    return TrialsPlan(
        name=name,
        runner=runner,
        known=known,
        units=[WorkUnit(workload.path, batch) for batch in cuts],
        workload=workload,
        drawn=replace(drawn, trials=trials, notes=notes),
        groups=groups,
    )


def cut_for(
    runner: RunnerConfig, workload: SweepWorkload[Any], trials: Sequence[Trial[Any]]
) -> list[Batch[Any]]:
    """Cut trials into batches as a runner needs them."""
    elsewhere = runner.kind != "local"
    return cut(workload, trials, runner.batch_size, workers=worker_count(runner), elsewhere=elsewhere)


def cut(
    workload: SweepWorkload[Any],
    trials: Sequence[Trial[Any]],
    batch_size: int | Literal["auto"] = "auto",
    hold: int | None = None,
    workers: int = 1,
    elsewhere: bool = False,
) -> list[Batch[Any]]:
    """Cut trials into batches. In this process, the trials of an external program are one batch: several
    batches would run side by side, and each batch applies the limits of its trials on its own.

    Args:
        workload: Workload of the trials.
        trials: Distinct trials.
        batch_size: Maximum number of trials per batch. `auto` cuts a group into few batches, each a number of
            whole calls: enough to see progress and to lose little when it is killed, and too few to cost
            anything.
        hold: Number of trials that every program holds, if later batches with fewer trials are to share it.
        workers: Number of processes that the trials are distributed to; 1 if they run in this process.
        elsewhere: Whether the trials run in other processes than this one, even in a single one.
    """
    if not trials:
        return []
    if not isinstance(workload.run, Workload):
        if not elsewhere:
            return slices(workload.name, trials, len(trials))
        # Several for each worker, which may have to leave, or be killed by a trial, before it is done.
        share = -(-len(trials) // (MOST_BATCHES * workers))
        most = max(share, workload.at_once(trials[0].config)) if batch_size == "auto" else batch_size
        return slices(workload.name, trials, most)
    run = workload.run
    if batch_size != "auto":
        return _held(batches(run, trials, min(batch_size, hold or batch_size), workload.dataset), hold)
    if hold is not None:
        return _held(batches(run, trials, hold, workload.dataset), hold)
    width = run.vector_width(jax.default_backend())
    lanes = call_lanes(width) if workers == 1 else WORKER_DEVICES * width
    smallest = SMALLEST_BATCH if workers == 1 else lanes

    def whole_calls(members: int) -> int:
        size = max(smallest, -(-members // max(MOST_BATCHES, workers)))
        return -(-size // lanes) * lanes

    return batches(run, trials, whole_calls, workload.dataset)


def _unheeded(workload: SweepWorkload[Any], runner: RunnerConfig) -> list[str]:
    """Return the requested batch settings that have no effect, in words."""
    if runner.batch_size == "auto" or runner.kind != "local" or isinstance(workload.run, Workload):
        return []
    return [
        f"runner.batch_size={runner.batch_size} has no effect: {workload.name} trials are one batch in this "
        "process, and max_concurrent says how many run at a time"
    ]


def _held(found: list[Batch[Any]], hold: int | None) -> list[Batch[Any]]:
    return found if hold is None else [replace(batch, size=hold) for batch in found]


def group_labels(workload: SweepWorkload[Any], trials: Sequence[Trial[Any]]) -> dict[str, str]:
    """Return the group of each trial, in words.

    Groups with the same name from the workload are distinguished by the static fields in which they differ,
    including nested fields; by a number if they differ in no field, but in their inputs, for example.
    """
    if not isinstance(workload.run, Workload):
        return {trial.id: workload.name for trial in trials}
    keys = {trial.id: workload.run.program_key(trial.config) for trial in trials}
    first = {keys[trial.id]: trial for trial in reversed(trials)}
    names = {key: workload.run.label(first[key].config) for key in dict.fromkeys(keys.values())}
    twins: dict[str, list[str]] = defaultdict(list)
    for key, name in names.items():
        twins[name].append(key)
    for name, ours in twins.items():
        if len(ours) > 1:
            static = {key: flatten(dump(first[key].config, *NOT_STATIC)) for key in ours}
            names |= {key: f"{name} {words}".strip() for key, words in told_apart(static).items()}
    return {trial_id: names[key] for trial_id, key in keys.items()}


def labelled(batches: Sequence[Batch[Any]], groups: Mapping[str, str]) -> list[Batch[Any]]:
    """Return the batches with the labels of their groups. A batch whose trials are of several groups, or of
    none, keeps its own label."""
    labels = [{groups.get(trial.id, batch.label) for trial in batch.trials} for batch in batches]
    return [
        replace(batch, label=min(ours)) if len(ours) == 1 else batch
        for batch, ours in zip(batches, labels, strict=True)
    ]
