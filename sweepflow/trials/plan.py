"""From trials to what has to be run: minus what the store has, in batches."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax

from sweepflow.batching import Batch, batches, slices
from sweepflow.engine.devices import worker_count
from sweepflow.engine.program import call_lanes
from sweepflow.engine.workload import Trial, Workload
from sweepflow.report.labels import flatten, told_apart
from sweepflow.schema.fields import NOT_STATIC, dump
from sweepflow.schema.locations import refuse_other_files
from sweepflow.schema.runner import RunnerConfig
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.draw import Drawn
from sweepflow.workloads import SweepWorkload

MOST_BATCHES = 4
"""Batches that a group is cut into by itself."""
WORKER_DEVICES = 2
"""JAX devices of a worker process: it has one core, and programs are compiled for no fewer devices."""
SMALLEST_BATCH = 16
"""A group of no more trials is one batch."""


@dataclass(frozen=True)
class TrialsPlan:
    """One sweep, before any work.

    Attributes:
        name: The sweep's name.
        workload: What every trial runs.
        runner: How its batches run.
        drawn: The trials, and how they were chosen.
        known: Records that the store has of them, by id; a `failed` one is run again.
        run_batches: What has to be run.
        groups: Each trial's group, in words.
    """

    name: str
    workload: SweepWorkload[Any]
    runner: RunnerConfig
    drawn: Drawn
    known: dict[str, Record]
    run_batches: list[Batch[Any]]
    groups: Mapping[str, str]

    @property
    def batches(self) -> int:
        """Batches to run."""
        return len(self.run_batches)

    @property
    def hits(self) -> int:
        """Trials that the store has."""
        return len(self.known)

    @property
    def trials(self) -> int:
        """Trials asked for."""
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
    """Look the trials up, and cut what is missing into batches.

    Args:
        workload: What every trial runs.
        drawn: The trials.
        runner: How their batches run.
        store: What is known.
        name: Of the sweep; None makes one of the trials.
        halving: One in so many goes on after a rung, and is part of the name.
        again: Whether all of them are to be run, though the store may know them.

    Raises:
        ConfigError: where what the store has of a trial was made of another file.
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
    return TrialsPlan(
        name=name,
        workload=workload,
        runner=runner,
        drawn=replace(drawn, trials=trials, notes=notes),
        known=known,
        run_batches=labelled(cut_for(runner, workload, missing), groups),
        groups=groups,
    )


def cut_for(
    runner: RunnerConfig, workload: SweepWorkload[Any], trials: Sequence[Trial[Any]]
) -> list[Batch[Any]]:
    """Batches of trials as a runner wants them."""
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
    """Batches of trials; those of an external program are one batch in this process, of which several would
    run side by side: each keeps to the limits that the trials have.

    Args:
        workload: What they run.
        trials: Distinct trials.
        batch_size: Most trials a batch. `auto` cuts a group into few batches, each a number of whole calls:
            enough to see it progress and to lose little when it is killed, and too few to cost anything.
        hold: Trials that every program holds, where later batches with fewer are to share it.
        workers: Processes that they are shared out among; 1 where they run in this one.
        elsewhere: Whether those are other processes than this one, be it a single one.
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
    """What was asked for of batches and has no effect, in words."""
    if runner.batch_size == "auto" or runner.kind != "local" or isinstance(workload.run, Workload):
        return []
    return [
        f"runner.batch_size={runner.batch_size} has no effect: {workload.name} trials are one batch in this "
        "process, and max_concurrent says how many run at a time"
    ]


def _held(found: list[Batch[Any]], hold: int | None) -> list[Batch[Any]]:
    return found if hold is None else [replace(batch, size=hold) for batch in found]


def group_labels(workload: SweepWorkload[Any], trials: Sequence[Trial[Any]]) -> dict[str, str]:
    """The group of each trial, in words.

    Groups that the workload calls by one name are told apart by the static fields that they differ in, nested
    ones too; by a number where they differ in none, but in their inputs say.
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
    """The batches under their groups' labels; one whose trials are of several, or of none, keeps its own."""
    labels = [{groups.get(trial.id, batch.label) for trial in batch.trials} for batch in batches]
    return [
        replace(batch, label=min(ours)) if len(ours) == 1 else batch
        for batch, ours in zip(batches, labels, strict=True)
    ]
