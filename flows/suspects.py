"""Which trial of a batch ends its workers, or outlasts them: run again, then cut, until it is alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.job import Job
from flows.runners.pool import Loss
from sweepflow.batching import Batch
from sweepflow.engine.workload import Trial

MOST_LOSSES = 3
"""Workers that a batch, or a trial alone, may take with it before it counts as the cause."""
MOST_INNOCENT = 20
"""Workers that may be lost under a batch for reasons that are not its own, before it is given up."""
MOST_FRUITLESS = 3
"""Workers in a row that may leave a batch without having got on with it: their walltime is too short."""


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
    """

    run: Sequence[Suspect]
    last: Sequence[Suspect] = ()
    guilty: Sequence[Trial[Any]] = ()
    why: str = ""
    failure: str = ""


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
        return Again((), failure=f"{why}; give a longer runner.walltime{smaller}")
    if not in_turn or len(batch.trials) == 1:
        return Again((), [_again(suspect, batch)])
    first, others = replace(batch, trials=batch.trials[:1]), replace(batch, trials=batch.trials[1:])
    return Again([_again(replace(suspect, fruitless=0), others)], [_again(suspect, first)])


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
