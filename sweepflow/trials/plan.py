"""From trials to what has to be run: minus what the store has, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepflow.batching import Batch, batches
from sweepflow.engine.workload import Trial, Workload
from sweepflow.schema.runner import RunnerConfig
from sweepflow.store.record import Record
from sweepflow.store.store import Store
from sweepflow.trials.draw import Drawn
from sweepflow.workloads import SweepWorkload


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
    workload: SweepWorkload[Any], drawn: Drawn, runner: RunnerConfig, store: Store, name: str | None
) -> TrialsPlan:
    """Look the trials up, and cut what is missing into batches."""
    known = store.finished(drawn.trials)
    missing = [trial for trial in drawn.trials.values() if trial.id not in known]
    digest = hashlib.sha256(" ".join(sorted(drawn.trials)).encode()).hexdigest()
    return TrialsPlan(
        name=name or f"sweep-{digest[:8]}",
        workload=workload,
        runner=runner,
        drawn=drawn,
        known=known,
        run_batches=cut(workload, missing, runner.batch_size),
        groups=group_labels(workload, list(drawn.trials.values())),
    )


def cut(workload: SweepWorkload[Any], trials: Sequence[Trial[Any]], batch_size: Any) -> list[Batch[Any]]:
    """Batches of trials; those of an external program are one group."""
    if isinstance(workload.run, Workload):
        return batches(workload.run, trials, batch_size, workload.dataset)
    if not trials:
        return []
    size = len(trials) if batch_size == "auto" else int(batch_size)
    parts = [tuple(trials[i : i + size]) for i in range(0, len(trials), size)]
    return [
        Batch(workload.name, number, len(parts), part, size=size, datasets=1)
        for number, part in enumerate(parts, 1)
    ]


def group_labels(workload: SweepWorkload[Any], trials: Sequence[Trial[Any]]) -> dict[str, str]:
    """The group of each trial, in words, told apart by a number where two groups read the same."""
    if not isinstance(workload.run, Workload):
        return {trial.id: workload.name for trial in trials}
    labels: dict[str, str] = {}
    out = {}
    for trial in trials:
        key = workload.run.program_key(trial.config)
        if key not in labels:
            label = workload.run.label(trial.config)
            twins = sum(other == label or other.startswith(f"{label} #") for other in labels.values())
            labels[key] = f"{label} #{twins + 1}" if twins else label
        out[trial.id] = labels[key]
    return out
