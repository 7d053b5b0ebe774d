"""A batch to run, and what running batches had to say."""

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
        """Of its trials."""
        return {trial.id for trial in self.batch.trials}

    def find_workload(self) -> Workload[Any] | SweepWorkload[Any]:
        """Its workload as it was planned, whatever has become of its files since."""
        first = replace(self.batch, trials=self.batch.trials[:1])
        return find_workload(self.workload, first.to_json()["trials"][0])


@dataclass
class Outcome:
    """What running batches had to say beside the records in the store.

    Attributes:
        failures: What failed, in words.
        why: That again, of each trial that has no result for it, by id.
        compiled, from_cache: Programs that were compiled, and found in the persistent compilation cache.
        states: How task runs ended that could not say so themselves, by id.
    """

    failures: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    compiled: int = 0
    from_cache: int = 0
    states: dict[Any, Any] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Take in what other batches had to say."""
        self.failures += other.failures
        self.why |= other.why
        self.compiled += other.compiled
        self.from_cache += other.from_cache
        self.states |= other.states
