"""Trials grouped by compiled program, each group cut into even batches; and the plan of a sweep."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from sweepflow.engine.workload import C, Trial, Workload
from sweepflow.schema.runner import RunnerConfig
from sweepflow.storage.record import Record


@dataclass(frozen=True)
class Batch(Generic[C]):
    """A slice of a group: one call of its program, and one Prefect task run.

    Attributes:
        label: Human-readable name of the group.
        number: Number of this batch in its group, from 1.
        of: Number of batches of the group.
        trials: The trials.
        size: Number of trials that the group's program holds. The last batch may have fewer, and is padded.
        datasets: Number of data sets that the group's program holds.
    """

    label: str
    number: int
    of: int
    trials: tuple[Trial[C], ...]
    size: int
    datasets: int

    @property
    def name(self) -> str:
        """Text that names the group and the batch, for task runs and progress."""
        trials = f"{len(self.trials)} trial{'s' * (len(self.trials) != 1)}"
        return f"{self.label}, batch {self.number} of {self.of}, {trials}"

    def part(self, ids: Collection[str]) -> Batch[C]:
        """Return the same batch with only some of its trials; its program stays the same."""
        return replace(self, trials=tuple(trial for trial in self.trials if trial.id in ids))

    def to_json(self) -> dict[str, Any]:
        """Return the batch as plain JSON, to send it to another process."""
        trials = [
            {"id": trial.id, "seed": trial.seed, "config": trial.config.model_dump(mode="json")}
            for trial in self.trials
        ]
        plain = {name: getattr(self, name) for name in ("label", "number", "of", "size", "datasets")}
        return {"name": self.name, **plain, "trials": trials}


@dataclass(frozen=True)
class WorkUnit:
    """A batch to run, and what it needs.

    Attributes:
        workload: Name of its workload.
        batch: Its trials.
        needs: Ids of trials in other units that have to be finished first.
        one_by_one: Whether its trials run one after the other.
    """

    workload: str
    batch: Batch[Any]
    needs: frozenset[str] = frozenset()
    one_by_one: bool = False

    @property
    def ids(self) -> set[str]:
        """Ids of its trials."""
        return {trial.id for trial in self.batch.trials}


@dataclass(frozen=True)
class Plan(ABC):
    """A sweep before any work.

    Attributes:
        name: The sweep's name.
        runner: How its batches run.
        known: Records that the store has of its trials, by id; a `failed` trial is run again.
        units: Batches that have to be run, in the order in which they start if nothing has to be waited for.
    """

    name: str
    runner: RunnerConfig
    known: dict[str, Record]
    units: list[WorkUnit]

    @property
    def hits(self) -> int:
        """Number of trials that the store has."""
        return len(self.known)

    @property
    @abstractmethod
    def trials(self) -> int:
        """Number of trials that were asked for."""

    @property
    def batches(self) -> list[Batch[Any]]:
        """Batches that have to be run."""
        return [unit.batch for unit in self.units]

    def batches_of(self, workload: str) -> list[Batch[Any]]:
        """Return the batches of one workload that have to be run."""
        return [unit.batch for unit in self.units if unit.workload == workload]


def batch_from_json(content: Mapping[str, Any], config_type: type[C]) -> Batch[C]:
    """Return the batch that `Batch.to_json` wrote.

    Args:
        content: The JSON that `Batch.to_json` wrote.
        config_type: Type of the workload's configurations.
    """
    return Batch(
        trials=tuple(
            Trial(trial["id"], config_type.model_validate(trial["config"]), trial["seed"])
            for trial in content["trials"]
        ),
        **{name: content[name] for name in ("label", "number", "of", "size", "datasets")},
    )


def slices(label: str, trials: Sequence[Trial[C]], most: int) -> list[Batch[C]]:
    """Cut trials into batches, in their order, if no compiled program groups them.

    Args:
        label: Human-readable name of the trials.
        trials: Distinct trials.
        most: Maximum number of trials in a batch.
    """
    parts = [tuple(trials[start : start + most]) for start in range(0, len(trials), most)]
    return [
        Batch(label, number, len(parts), part, size=len(part), datasets=1)
        for number, part in enumerate(parts, 1)
    ]


def shared_out(workers: int) -> Callable[[int], int]:
    """Return a function from the number of trials of a group to its batch size.

    Every worker then has one batch of each group. A single worker has the whole group, and the engine halves
    a batch that does not fit the memory.
    """
    return lambda members: math.ceil(members / workers)


def batches(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    batch_size: int | Callable[[int], int],
    dataset: Callable[[C], object],
) -> list[Batch[C]]:
    """Cut trials into batches, groups in order of first appearance.

    Args:
        workload: Workload, which decides which trials share a program.
        trials: Distinct trials.
        batch_size: Maximum number of trials in a batch, or a function that returns it for the number of
            trials of a group.
        dataset: Function that returns the identity of a configuration's data set. The program holds as many
            data sets as a batch may need.
    """
    groups: dict[str, list[Trial[C]]] = {}
    for trial in trials:
        groups.setdefault(workload.program_key(trial.config), []).append(trial)
    out: list[Batch[C]] = []
    for members in groups.values():
        # Trials on one data set side by side: a batch then loads the fewest.
        order = {key: i for i, key in enumerate(dict.fromkeys(dataset(t.config) for t in members))}
        members.sort(key=lambda t: order[dataset(t.config)])
        most = batch_size(len(members)) if callable(batch_size) else batch_size
        count = math.ceil(len(members) / most)
        size = math.ceil(len(members) / count)
        count = math.ceil(len(members) / size)
        label = workload.label(members[0].config)
        out += [
            Batch(
                label=label,
                number=index + 1,
                of=count,
                trials=tuple(members[index * size : (index + 1) * size]),
                size=size,
                datasets=min(len(order), size),
            )
            for index in range(count)
        ]
    return out
