"""A sweep at work: its plan, its workers, its progress, and the outcome of its batches so far."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from sweepflow.batching import Plan, WorkUnit
from sweepflow.flows.dispatch.batches import run_units
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.runners.asked import Asked
from sweepflow.flows.runners.pool import Pool
from sweepflow.flows.runs.heartbeat import Beat
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import SweepProgress


class Prepared(Protocol):
    """A sweep that is ready to run, as `estimates/prepare.py` and `trials/prepare.py` make it."""

    @property
    def plan(self) -> Plan: ...
    @property
    def store(self) -> Store: ...
    @property
    def command(self) -> str: ...
    def ask_for_rerun(self, flow_run_id: str) -> None: ...


PreparedT = TypeVar("PreparedT", bound=Prepared)


@dataclass
class Work(Generic[PreparedT]):
    """A sweep at work: what its flow needs in order to run batches.

    Attributes:
        prepared: The sweep as it was planned.
        workers: Workers that were requested for it.
        beat: Signs of life of its run.
        progress: Progress display.
        outcome: Outcome of the batches so far.
        closing: Closed when the work has ended.
    """

    prepared: PreparedT
    workers: Asked
    beat: Beat
    progress: SweepProgress
    outcome: Outcome
    closing: ExitStack

    def run(
        self, units: Sequence[WorkUnit], *, one_call: bool = True, outcome: Outcome | None = None
    ) -> None:
        """Run batches, each as soon as the trials that it needs are done.

        Args:
            units: The batches. Without any, no workers are waited for.
            one_call: Whether the trials of a batch share one call of a compiled program, and so fail
                together.
            outcome: Outcome that is added to; by default that of the sweep.

        Raises:
            RunnerError: if no workers are available.
            TooManyFailuresError: if too many calls fail alike.
        """
        if not units:
            return
        names = {trial.id: unit.batch.name for unit in units for trial in unit.batch.trials}
        self.progress.expect(names, len(units), names if one_call else {})
        runner, store = self.prepared.plan.runner, self.prepared.store
        run_units(units, runner, store, self.progress, self._pool, outcome or self.outcome, self.beat.leases)

    @cached_property
    def _pool(self) -> Pool:
        return self.closing.enter_context(self.workers.pool(self.prepared.plan.runner, self.prepared.store))
