"""Run batches as Prefect task runs, each as soon as the trials it needs are done and a worker is free."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty
from typing import Any

from prefect.futures import PrefectFuture
from prefect.states import Completed, Crashed, Failed

from sweepflow.batching import WorkUnit
from sweepflow.engine.failure import failed_record
from sweepflow.engine.workload import Workload
from sweepflow.errors import StoreError, with_advice
from sweepflow.flows.dispatch.blame import (
    HOPELESS,
    Again,
    Suspect,
    Walltimes,
    after_leaving,
    after_loss,
    spread,
)
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.shared import Shared
from sweepflow.flows.runners.pool import Loss, Pool
from sweepflow.flows.runs.liveness import ago
from sweepflow.flows.runs.record import short_id
from sweepflow.flows.server.away import AWAY_SECONDS, ServerWatch
from sweepflow.report.numbers import counted
from sweepflow.schema.runner import RunnerConfig
from sweepflow.storage.leases import Leases
from sweepflow.storage.network import await_records, changed, look
from sweepflow.storage.record import Record
from sweepflow.storage.reruns import of_before
from sweepflow.storage.store import Store
from sweepflow.tasks.batch import Ran, batch_parameters, run_batch_task, workload_of
from sweepflow.tasks.progress import SweepProgress
from sweepflow.workloads import SweepWorkload

LOOK_SECONDS = 1.0
"""Time between two looks at the things that the sweep waits for."""


def run_units(
    units: Sequence[WorkUnit],
    runner: RunnerConfig,
    store: Store,
    progress: SweepProgress,
    pool: Pool,
    outcome: Outcome,
    leases: Leases | None = None,
) -> None:
    """Run every unit, each as soon as the trials that it needs are done.

    A batch that a worker leaves goes on in another worker. A batch whose worker is lost is run again, without
    the trials that the store already has. After some losses the batch is bisected, until the trial that ends
    its workers is alone; that trial is `failed`. If three walltimes are over before anything is done, the
    remaining batches are not started. Trials that another sweep is running are left to that sweep, and its
    results are also results of this sweep.

    Args:
        units: Batches, and the trials that they need.
        runner: Settings of the runner.
        store: Store that keeps the results.
        progress: Progress display, which is told how far the batches are.
        pool: Pool that the batches run in; it must be entered already.
        outcome: Outcome to which that of the batches is added, however this function ends.
        leases: Leases that tell which trials other sweeps run; None if nobody else uses the store.

    Raises:
        RunnerError: if no workers are available.
        TooManyFailuresError: if the sweep only fails.
    """
    running = _Running(units, runner, store, progress, pool, leases)
    try:
        running.run()
    finally:
        outcome.add(running.outcome)
        if leases is not None:
            leases.release()


class _Running:
    def __init__(
        self,
        units: Sequence[WorkUnit],
        runner: RunnerConfig,
        store: Store,
        progress: SweepProgress,
        pool: Pool,
        leases: Leases | None,
    ) -> None:
        self.runner, self.store, self.progress, self.pool = runner, store, progress, pool
        self.shared = Shared(leases)
        self.unfinished = {trial.id for unit in units for trial in unit.batch.trials}
        again = of_before(store.paths, self.unfinished)  # what Prefect remembers of them is not asked for
        self.waiting = [Suspect(unit, refresh=not again.isdisjoint(unit.ids)) for unit in units]
        self.running: dict[PrefectFuture[Any], tuple[Suspect, float]] = {}
        self.outcome, self.server, self.walltimes = Outcome(), ServerWatch(), Walltimes()
        self.short: dict[str, str] = {}
        self.remote = runner.kind != "local"

    def run(self) -> None:
        self._submit_ready()
        while self.running or len(self.shared) or self._any_ready():
            try:
                event = self.pool.events.get(timeout=LOOK_SECONDS)
            except Empty:
                event = None
            if isinstance(event, Exception):
                raise event
            if event is not None:
                self._ended(event)
            idle = not self._any_ready() and (not self.running or self.pool.free() > 0)
            self._take_up(idle)
            self._submit_ready()
            waiting = 0 if self.walltimes.hopeless else len(self.waiting)
            self.pool.outstanding(waiting + len(self.running))
            others = self.server.waiting or (self._others() if idle else "")
            self.progress.now(self.pool.waiting or others, self.pool.lost, self._longest())
        self.progress.say(self._summary())
        if self.walltimes.hopeless and self.waiting:
            self._give_up(HOPELESS)
        self.outcome.failures += [
            f"{suspect.unit.batch.name}: what it needs could not be made" for suspect in self.waiting
        ]

    def _give_up(self, cause: str) -> None:
        """Give up all batches that wait; none of them is started."""
        ids = {i for suspect in self.waiting for i in suspect.unit.ids}
        why = f"{counted(len(ids), 'trial')} given up: {cause}"
        self.outcome.failures.append(why)
        self.outcome.why |= dict.fromkeys(ids, why)
        self.progress.say(why)
        self.waiting = []

    def _summary(self) -> str:
        """Return a line about lost workers and compiled programs; empty if there is nothing to report."""
        found = [f"{counted(self.pool.lost, 'worker')} lost"] if self.pool.lost else []
        if self.outcome.from_cache or self.remote:
            cached = f"{self.outcome.from_cache} from the compilation cache"
            found.append(f"{counted(self.outcome.compiled, 'program')} compiled, {cached}")
        return "; ".join(found)

    def _is_ready(self, suspect: Suspect) -> bool:
        return self.unfinished.isdisjoint(suspect.unit.needs) and not self.walltimes.hopeless

    def _any_ready(self) -> bool:
        return any(self._is_ready(suspect) for suspect in self.waiting)

    def _submit_ready(self) -> None:
        if self.waiting and self.server.stays_away:  # each batch would try for minutes
            self._give_up(f"Prefect's server has not answered for {ago(AWAY_SECONDS)}")
        waiting, self.waiting = self.waiting, []
        for suspect in waiting:
            if not self._is_ready(suspect) or self.pool.free() <= 0 or self.server.waiting:
                self.waiting.append(suspect)
                continue
            mine = self.shared.take(suspect)
            if mine is None:
                continue
            self.progress.split(mine is not suspect)
            if not self._submit(mine):
                self.shared.release(mine)
                self.waiting.append(mine)

    def _take_up(self, idle: bool) -> None:
        """Go on with trials that other sweeps have run, or have released."""
        before = len(self.shared)
        found = self.shared.let_go(idle)
        self.progress.split(len(self.shared) + len(found) - before)
        for suspect in found:
            unit = suspect.unit
            records: Mapping[str, Record] = {}
            with suppress(StoreError):  # its own task run says so, and tries again
                look(self.store, unit.ids)
                records = self.store.finished(unit.ids)
            for record in records.values():
                self.progress.trial_done(record)
            self.unfinished -= records.keys()
            if missing := unit.ids - records.keys():
                self.waiting.append(replace(suspect, unit=replace(unit, batch=unit.batch.part(missing))))
            else:
                self.progress.batch_done(unit.batch.name, unit.ids, "Run by another sweep")

    def _others(self) -> str:
        """Return, in words, the runs whose trials are waited for; empty if there are none."""
        for owner in self.shared.owners - self.short.keys():
            self.short[owner] = short_id(self.store, owner)  # which looks through all runs
        owners = sorted(self.short[owner] for owner in self.shared.owners)
        return f"trials that run {' and '.join(owners)} has in hand" if owners else ""

    def _submit(self, suspect: Suspect) -> bool:
        unit = suspect.unit
        task = run_batch_task.with_options(refresh_cache=suspect.refresh)
        future = self.pool.submit(task, batch_parameters(unit, self.runner, self.store))
        if future is None:  # its worker has just gone
            return False
        self.running[future] = suspect, time.monotonic()
        return True

    def _longest(self) -> tuple[str, float]:
        """Return the name of the batch that has run longest, and its time in seconds."""
        if not self.running:
            return "", 0.0
        suspect, started = min(self.running.values(), key=lambda entry: entry[1])
        return suspect.unit.batch.name, time.monotonic() - started

    def _ended(self, future: PrefectFuture[Any]) -> None:
        suspect, started = self.running.pop(future)
        try:
            self._settle(future, suspect, started)
        finally:
            self.shared.release(suspect)

    def _settle(self, future: PrefectFuture[Any], suspect: Suspect, started: float) -> None:
        unit = suspect.unit
        loss = self.pool.loss(future)
        if loss is not None:
            self._lost(future, suspect, loss, started)
            return
        try:
            ran = Ran(**future.result())
        except Exception as error:
            why = with_advice(error)
            self.outcome.states[future.task_run_id] = Failed(message=why)
            if self.server.is_to_wait(error):  # it was not begun, or its end not told
                self.waiting.append(replace(suspect, refresh=True))
            else:
                self._failed(unit, why)
            return
        self.server.worked()
        state = str(future.state.name)
        if state != "Cached":  # what is remembered is of another run
            self.outcome.compiled += ran.compiled
            self.outcome.from_cache += ran.from_cache
            if ran.left and ran.worker is not None:
                self.pool.retire(ran.worker)
        # Its worker says so to Prefect by itself, if it has the time before it is lost.
        self.outcome.states[future.task_run_id] = Completed(name=state)
        if ran.left and not ran.began:  # all slots of its concurrency limit were taken
            self.waiting.append(replace(suspect, refresh=True))
        elif ran.left and state != "Cached":
            self._left(suspect, started)
        elif ran.left or (state == "Cached" and not unit.ids <= self.store.finished(unit.ids).keys()):
            # What Prefect remembers, the store has lost, or it was not the end, or a failure.
            self.waiting.insert(0, replace(suspect, refresh=True))
        else:
            if state != "Cached":
                self.shared.took(unit.batch.label, time.monotonic() - started)
                self._fits()
            self._done(unit, state)

    def _fits(self) -> None:
        """Note that something was done before the walltime of its worker was over."""
        self.walltimes = replace(self.walltimes, fits=True)

    def _left(self, suspect: Suspect, started: float) -> None:
        """Let a batch that a worker had to leave go on in another worker, if it makes progress."""
        unit = suspect.unit
        records = self.store.finished(unit.ids)
        missing = unit.ids - records.keys()
        if not missing:
            self._fits()
            self._done(unit, "Completed")
            return
        found = workload_of(unit)
        in_turn = isinstance(found, SweepWorkload) and not isinstance(found.run, Workload)
        times = {i: changed(self.store.paths.checkpoint(i)) for i in missing}
        traces = frozenset((i, time) for i, time in times.items() if time is not None)
        again = after_leaving(suspect, missing, traces, in_turn=in_turn)
        before = self.walltimes
        if not again.fruitless:
            self._fits()
        elif self.runner.concurrency_limit is None:  # else it may have waited for its slot
            self.walltimes = before.after(started, time.monotonic())
        if not again.failure and not self.walltimes.hopeless:
            where = "begins again elsewhere" if in_turn else "goes on elsewhere"
            self.progress.say(f"left by its worker, and {where}: {unit.batch.name}")
        self._again(unit, again, records)
        if self.walltimes.fruitless > before.fruitless == 0:
            until = len(self.waiting) - len(again.last)
            self.waiting = [*spread(self.waiting[:until]), *self.waiting[until:]]

    def _failed(self, unit: WorkUnit, why: str) -> None:
        """Record that a batch has ended without some of its results."""
        self.outcome.failures.append(f"{unit.batch.name}: {why}")
        known: set[str] = set()
        with suppress(StoreError):  # it may be why
            records = self.store.finished(unit.ids)
            known = set(records)
            self._count(unit, records)
        self.outcome.why |= dict.fromkeys(unit.ids - known, f"{unit.batch.name}: {why}")
        self.progress.batch_done(unit.batch.name, known, "Failed", why, unit.ids - known)
        self.unfinished -= known

    def _count(self, unit: WorkUnit, records: Mapping[str, Record]) -> None:
        """Show trials that have a record, in the order in which they ran.

        Trials that ran in this process were counted as they ended.
        """
        if self.remote:
            for trial in unit.batch.trials:
                if trial.id in records:
                    self.progress.trial_done(records[trial.id])

    def _done(self, unit: WorkUnit, state: str) -> None:
        if self.remote:
            self._count(unit, await_records(self.store, unit.ids))
        if of_before(self.store.paths, unit.ids):
            self._failed(unit, "its worker has not seen that its records are to be made again")
            return
        self.progress.batch_done(unit.batch.name, unit.ids, state)
        self.unfinished -= unit.ids

    def _lost(self, future: PrefectFuture[Any], suspect: Suspect, loss: Loss, started: float) -> None:
        unit = suspect.unit
        records = self.store.finished(unit.ids)
        missing = unit.ids - records.keys()
        if records:
            self._fits()
        if not missing:  # it was lost after its last record
            self.outcome.states[future.task_run_id] = Completed(message=f"{loss.why}, after its last record")
            self._done(unit, "Completed")
            return
        self.outcome.states[future.task_run_id] = Crashed(message=loss.why)
        if loss.late:
            self._left(suspect, started)
            return
        if loss.begun:  # else it has lost nothing
            self.progress.say(f"lost the worker of {unit.batch.name}: {loss.why}")
        self._again(unit, after_loss(suspect, missing, loss), records)

    def _again(self, unit: WorkUnit, again: Again, records: Mapping[str, Record]) -> None:
        """Run again the rest of a batch, and give up the trials that are not to run again.

        Args:
            unit: The batch.
            again: Decision about the batch.
            records: Records of the trials that it has done.
        """
        if again.failure:
            self._failed(unit, again.failure)
            return
        for trial in again.guilty:
            self.store.put(failed_record(workload_of(unit), trial, again.why, device=False))
        self.waiting = [*again.run, *self.waiting, *again.last]
        if parts := len(again.run) + len(again.last):
            self._count(unit, records)
            self.progress.split(parts - 1)
        else:
            self._done(unit, "Crashed")
        self.unfinished -= records.keys()
