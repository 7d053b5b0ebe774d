"""A batch to run, and the outcome of running batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sweepflow.batching import Batch
from sweepflow.engine.workload import Workload
from sweepflow.tasks.batch import find_workload
from sweepflow.workloads import SweepWorkload


@dataclass(frozen=True)
class Job:
    """A batch to run.

    Attributes:
        workload: Name of its workload.
        batch: Its trials.
        needs: Ids of trials in other jobs that have to be finished first.
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

    def find_workload(self) -> Workload[Any] | SweepWorkload[Any]:
        """Return its workload as it was planned, whatever has happened to the workload's files since."""
        first = replace(self.batch, trials=self.batch.trials[:1])
        return find_workload(self.workload, first.to_json()["trials"][0])


@dataclass
class Outcome:
    """Outcome of running batches, in addition to the records in the store.

    Attributes:
        failures: Failures, in words.
        why: The failure of each trial that has no result because of it, by id.
        compiled, from_cache: Number of programs that were compiled, and that were found in the persistent
            compilation cache.
        states: Final states of task runs that could not report them themselves, by id.
    """

    failures: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    compiled: int = 0
    from_cache: int = 0
    states: dict[Any, Any] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Add the outcome of other batches."""
        self.failures += other.failures
        self.why |= other.why
        self.compiled += other.compiled
        self.from_cache += other.from_cache
        self.states |= other.states
