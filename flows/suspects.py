"""Which trial of a batch ends its workers, or outlasts them: run again, then cut, until it is alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sweepflow.batching import Batch
from sweepflow.engine.workload import Trial
from sweepflow.flows.job import Job
from sweepflow.flows.runners.pool import Loss

T = TypeVar("T")
MOST_LOSSES = 3
"""Workers that a batch, or a trial alone, may take with it before it counts as the cause."""
MOST_INNOCENT = 20
"""Workers that may be lost under a batch for reasons that are not its own, before it is given up."""
MOST_FRUITLESS = 3
"""Workers in a row that may leave a batch without having got on with it: their walltime is too short."""

ADVICE = "give a longer runner.walltime"
HOPELESS = f"{MOST_FRUITLESS} workers in a row had to leave before any of these trials was done; {ADVICE}"


@dataclass(frozen=True)
class Suspect:
    """A job, and what is held against its batch.

    Attributes:
        job: The job.
        losses: Workers that were lost under it, for reasons that may be its own.
        others: Workers that were lost under it for other reasons.
        bisected: Whether it is part of a batch that is being bisected.
        refresh: Whether it is to run whatever Prefect remembers of it.
        traces: The checkpoints that the store had of it when a worker last left it.
        fruitless: Workers in a row that have left it as they had found it.
    """

    job: Job
    losses: int = 0
    others: int = 0
    bisected: bool = False
    refresh: bool = False
    traces: frozenset[object] = frozenset()
    fruitless: int = 0


@dataclass(frozen=True)
class Again:
    """What to do about a batch whose worker was lost, or had to leave.

    Attributes:
        run: What to run again, before everything else.
        last: What to run again once everything else has begun.
        guilty: Trials to give up.
        why: What is said of those.
        failure: Why the batch has failed, where that says nothing of its trials.
        fruitless: Whether its worker has left it as it had found it.
    """

    run: Sequence[Suspect]
    last: Sequence[Suspect] = ()
    guilty: Sequence[Trial[Any]] = ()
    why: str = ""
    failure: str = ""
    fruitless: bool = False


@dataclass(frozen=True)
class Walltimes:
    """Walltimes of a sweep, one after the other, that were over before anything of it was done.

    Attributes:
        fruitless: How many.
        since: When half of the last of them was over.
        fits: Whether anything was done in one: what else takes longer then costs `MOST_FRUITLESS` each.
    """

    fruitless: int = 0
    since: float = -math.inf
    fits: bool = False

    def after(self, begun: float, now: float) -> Walltimes:
        """Once a worker has left a batch as it had found it; of workers side by side, one counts.

        The next worker may have begun before it is known that the last was lost.

        Args:
            begun: When it had begun the batch.
            now: When it left it, by the same clock.
        """
        if self.fits or begun < self.since:
            return self
        return replace(self, fruitless=self.fruitless + 1, since=(begun + now) / 2)

    @property
    def hopeless(self) -> bool:
        """Whether nothing more is to be begun, unless something that runs is done."""
        return not self.fits and self.fruitless >= MOST_FRUITLESS


def far_apart(items: Sequence[T]) -> list[T]:
    """The same in another order, the last and then the middle one before the others.

    After the first of a grid, which differs from its last in every key, these say best what else fits.
    """
    if len(items) < 3:
        return list(reversed(items))
    middle = (len(items) - 1) // 2
    return [items[-1], items[middle], *items[:middle], *items[middle + 1 : -1]]


def spread(waiting: Sequence[Suspect]) -> list[Suspect]:
    """Batches, and the trials of each, in the order that says soonest whether anything fits a walltime."""
    return [
        replace(one, job=replace(one.job, batch=replace(one.job.batch, trials=tuple(far_apart(trials)))))
        for one in far_apart(waiting)
        for trials in [one.job.batch.trials]
    ]


def after_leaving(
    suspect: Suspect, missing: Collection[str], traces: frozenset[object], *, in_turn: bool
) -> Again:
    """What to do about a batch that a worker had to leave, as its walltime was over.

    It goes on elsewhere for as long as it gets on: a trial is done, or a checkpoint is written. Where it does
    not, it is put behind the others; and where its trials are begun in turn, without the first, which is what
    took the time: the others need not wait for it. Nothing is said of trials that are given up here, since a
    longer walltime may do for them.

    Args:
        suspect: What was left.
        missing: Ids of its trials that have no result yet.
        traces: The checkpoints of those, with their times.
        in_turn: Whether its trials are begun one after the other, and keep no checkpoints.
    """
    batch: Batch[Any] = suspect.job.batch.part(missing)
    got_on = len(batch.trials) < len(suspect.job.batch.trials) or traces != suspect.traces
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
    """What to do about a batch whose worker was lost, for another reason than the end of its walltime.

    A batch is run again. After `MOST_LOSSES` losses of its own it is cut in two, and a part that loses
    another worker again, until a trial is alone: that one is given up after as many losses.

    Args:
        suspect: What was lost, and what is held against it so far.
        missing: Ids of its trials that have no result yet.
        loss: How its worker was lost.
    """
    batch: Batch[Any] = suspect.job.batch.part(missing)
    alone = len(batch.trials) == 1
    if loss.innocent:
        got_on = len(batch.trials) < len(suspect.job.batch.trials)
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
    return replace(suspect, job=replace(suspect.job, batch=batch), refresh=True)
