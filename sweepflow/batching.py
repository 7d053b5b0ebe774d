"""Group trials by compiled program, and cut each group into even batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from sweepflow.engine.workload import C, Trial, Workload


@dataclass(frozen=True)
class Batch(Generic[C]):
    """A slice of a group: one call of its program, and one Prefect task run.

    Attributes:
        label: The group's name for people.
        number: This batch among its group's, from 1.
        of: Batches of the group.
        trials: The trials.
        size: Trials the group's program holds; the last batch may have fewer, and is padded.
        datasets: Data sets the group's program holds.
    """

    label: str
    number: int
    of: int
    trials: tuple[Trial[C], ...]
    size: int
    datasets: int

    @property
    def name(self) -> str:
        """Group and batch, for task runs and progress."""
        trials = f"{len(self.trials)} trial{'s' * (len(self.trials) != 1)}"
        return f"{self.label}, batch {self.number} of {self.of}, {trials}"

    def part(self, ids: Collection[str]) -> Batch[C]:
        """The same batch with some of its trials only; its program stays the same."""
        return replace(self, trials=tuple(trial for trial in self.trials if trial.id in ids))

    def to_json(self) -> dict[str, Any]:
        """The batch as plain JSON: what travels to another process."""
        trials = [
            {"id": trial.id, "seed": trial.seed, "config": trial.config.model_dump(mode="json")}
            for trial in self.trials
        ]
        plain = {name: getattr(self, name) for name in ("label", "number", "of", "size", "datasets")}
        return {"name": self.name, **plain, "trials": trials}


def batch_from_json(content: Mapping[str, Any], config_type: type[C]) -> Batch[C]:
    """What `Batch.to_json` wrote.

    Args:
        content: As written.
        config_type: Of the workload's configurations.
    """
    return Batch(
        trials=tuple(
            Trial(trial["id"], config_type.model_validate(trial["config"]), trial["seed"])
            for trial in content["trials"]
        ),
        **{name: content[name] for name in ("label", "number", "of", "size", "datasets")},
    )


def slices(label: str, trials: Sequence[Trial[C]], most: int) -> list[Batch[C]]:
    """Cut trials that no compiled program groups into batches, in their order.

    Args:
        label: Their name for people.
        trials: Distinct trials.
        most: Most trials a batch.
    """
    parts = [tuple(trials[start : start + most]) for start in range(0, len(trials), most)]
    return [
        Batch(label, number, len(parts), part, size=len(part), datasets=1)
        for number, part in enumerate(parts, 1)
    ]


def shared_out(workers: int) -> Callable[[int], int]:
    """Trials a batch such that every worker has one of each group; a single worker has the whole group, of
    which the engine halves what does not fit the memory."""
    return lambda members: math.ceil(members / workers)


def batches(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    batch_size: int | Callable[[int], int],
    dataset: Callable[[C], object],
) -> list[Batch[C]]:
    """Cut trials into batches, groups in order of first appearance.

    Args:
        workload: Says which trials share a program.
        trials: Distinct trials.
        batch_size: Most trials a batch, or what gives it for a group of so many trials.
        dataset: What identifies a trial's data set; the program holds as many as a batch may need.
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
