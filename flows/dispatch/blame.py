"""Search for the trial of a batch that ends its workers, or outlasts them.

The batch is run again, and then cut into parts, until that trial is alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sweepflow.batching import Batch, WorkUnit
from sweepflow.engine.workload import Trial
from sweepflow.flows.runners.pool import Loss

T = TypeVar("T")
MOST_LOSSES = 3
"""Number of lost workers after which a batch, or a trial alone, counts as the cause."""
MOST_INNOCENT = 20
"""Maximum number of workers that may be lost under a batch for reasons other than the batch, before it is
given up."""
MOST_FRUITLESS = 3
"""Number of workers in a row that may leave a batch without progress, before their walltime counts as too
short."""

ADVICE = "give a longer runner.walltime"
HOPELESS = f"{MOST_FRUITLESS} workers in a row had to leave before any of these trials was done; {ADVICE}"


@dataclass(frozen=True)
class Suspect:
    """A unit, and the evidence against its batch.

    Attributes:
        unit: The unit.
        losses: Number of workers that were lost under it, for reasons that may lie in the batch.
        others: Number of workers that were lost under it for other reasons.
        bisected: Whether it is part of a batch that is being bisected.
        refresh: Whether to run it even if Prefect remembers a result.
        traces: The checkpoints that the store had of it when a worker last left it.
        fruitless: Number of workers in a row that have left it without progress.
    """

    unit: WorkUnit
    losses: int = 0
    others: int = 0
    bisected: bool = False
    refresh: bool = False
    traces: frozenset[object] = frozenset()
    fruitless: int = 0


@dataclass(frozen=True)
class Again:
    """Decision about a batch whose worker was lost, or had to leave.

    Attributes:
        run: Jobs to run again, before everything else.
        last: Jobs to run again once everything else has begun.
        guilty: Trials to give up.
        why: The reason that is given for these trials.
        failure: The reason why the batch has failed, if it says nothing about the trials of the batch.
        fruitless: Whether its worker has left it without progress.
    """

    run: Sequence[Suspect]
    last: Sequence[Suspect] = ()
    guilty: Sequence[Trial[Any]] = ()
    why: str = ""
    failure: str = ""
    fruitless: bool = False


@dataclass(frozen=True)
class Walltimes:
    """Walltimes of a sweep, one after the other, that were over before anything of the sweep was done.

    Attributes:
        fruitless: Number of these walltimes.
        since: Time when half of the last of them was over.
        fits: Whether anything was done within a walltime. Each batch that takes longer then costs
            `MOST_FRUITLESS` walltimes.
    """

    fruitless: int = 0
    since: float = -math.inf
    fits: bool = False

    def after(self, begun: float, now: float) -> Walltimes:
        """Return the walltimes after a worker has left a batch without progress.

        Of workers that run side by side, only one counts. The next worker may have begun before it is known
        that the last one was lost.

        Args:
            begun: Time when the worker began the batch.
            now: Time when the worker left the batch, by the same clock.
        """
        if self.fits or begun < self.since:
            return self
        return replace(self, fruitless=self.fruitless + 1, since=(begun + now) / 2)

    @property
    def hopeless(self) -> bool:
        """True if nothing more is to be started, unless something that is running gets done."""
        return not self.fits and self.fruitless >= MOST_FRUITLESS


def far_apart(items: Sequence[T]) -> list[T]:
    """Return the items in another order: the last item and then the middle item before the others.

    After the first item of a grid, which differs from the last item in every key, these two items show best
    what else fits.
    """
    if len(items) < 3:
        return list(reversed(items))
    middle = (len(items) - 1) // 2
    return [items[-1], items[middle], *items[:middle], *items[middle + 1 : -1]]


def spread(waiting: Sequence[Suspect]) -> list[Suspect]:
    """Return batches, and the trials of each, in the order that shows soonest if anything fits a walltime."""
    return [
        replace(one, unit=replace(one.unit, batch=replace(one.unit.batch, trials=tuple(far_apart(trials)))))
        for one in far_apart(waiting)
        for trials in [one.unit.batch.trials]
    ]


def after_leaving(
    suspect: Suspect, missing: Collection[str], traces: frozenset[object], *, in_turn: bool
) -> Again:
    """Decide about a batch that a worker had to leave because its walltime was over.

    The batch goes on in another worker as long as it makes progress: a trial is done, or a checkpoint is
    written. A batch without progress is put behind the others. If its trials are started one after the other,
    only its first trial is put behind, because that trial took the time; the other trials need not wait for
    it. Nothing is recorded about trials that are given up here, because a longer walltime may be enough for
    them.

    Args:
        suspect: The batch that was left.
        missing: Ids of its trials that have no result yet.
        traces: The checkpoints of these trials, with their times.
        in_turn: Whether its trials are started one after the other, and keep no checkpoints.
    """
    batch: Batch[Any] = suspect.unit.batch.part(missing)
    got_on = len(batch.trials) < len(suspect.unit.batch.trials) or traces != suspect.traces
    suspect = replace(suspect, traces=traces, fruitless=0 if got_on else suspect.fruitless + 1)
    if got_on:
        return Again([_again(suspect, batch)])
    if suspect.fruitless >= MOST_FRUITLESS:
        why = f"{MOST_FRUITLESS} workers in a row had to leave before they got on with it"
        smaller = ", or a smaller runner.batch_size" if len(batch.trials) > 1 else ""
        return Again((), failure=f"{why}; {ADVICE}{smaller}", fruitless=True)
    if not in_turn or len(batch.trials) == 1:
        return Again((), [_again(suspect, batch)], fruitless=True)
    first, others = replace(batch, trials=batch.trials[:1]), replace(batch, trials=batch.trials[1:])
    return Again([_again(replace(suspect, fruitless=0), others)], [_again(suspect, first)], fruitless=True)


def after_loss(suspect: Suspect, missing: Collection[str], loss: Loss) -> Again:
    """Decide about a batch whose worker was lost for another reason than the end of its walltime.

    The batch is run again. After `MOST_LOSSES` losses of its own it is cut in two. A part that loses another
    worker is cut again, until a trial is alone. That trial is given up after `MOST_LOSSES` losses.

    Args:
        suspect: The batch whose worker was lost, and the evidence against it so far.
        missing: Ids of its trials that have no result yet.
        loss: Loss of its worker.
    """
    batch: Batch[Any] = suspect.unit.batch.part(missing)
    alone = len(batch.trials) == 1
    if loss.innocent:
        got_on = len(batch.trials) < len(suspect.unit.batch.trials)
        suspect = replace(suspect, others=1 if got_on else suspect.others + 1)
        if suspect.others > MOST_INNOCENT:
            return Again((), failure=f"{suspect.others} workers in a row were lost under it; {loss.why}")
        return Again([_again(suspect, batch)])
    suspect = replace(suspect, losses=suspect.losses + 1)
    most = MOST_LOSSES if alone or not suspect.bisected else 1
    if suspect.losses < most:
        return Again([_again(suspect, batch)])
    if alone:
        why = f"it ended its worker {suspect.losses} times; the last time: {loss.why}"
        return Again((), guilty=batch.trials, why=why)
    middle = (len(batch.trials) + 1) // 2
    halves = [batch.trials[:middle], batch.trials[middle:]]
    fresh = replace(suspect, losses=0, bisected=True)
    return Again([_again(fresh, replace(batch, trials=half)) for half in halves])


def _again(suspect: Suspect, batch: Batch[Any]) -> Suspect:
    return replace(suspect, unit=replace(suspect.unit, batch=batch), refresh=True)
