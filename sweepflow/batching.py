"""Group trials by compiled program, and cut each group into even batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal

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


def batches(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    batch_size: int | Literal["auto"] | Callable[[int], int],
    dataset: Callable[[C], object],
) -> list[Batch[C]]:
    """Cut trials into batches, groups in order of first appearance.

    Args:
        workload: Says which trials share a program.
        trials: Distinct trials.
        batch_size: Most trials a batch, or what gives it for a group of so many trials; `auto` puts a group
            into one batch (the engine halves what does not fit the memory).
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
        count = 1 if most == "auto" else math.ceil(len(members) / most)
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
