"""Which trial of a batch ends its workers: the laws of being run again, cut, and given up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.run_jobs import Job
from flows.runners.pool import Loss
from flows.suspects import MOST_FRUITLESS, MOST_INNOCENT, MOST_LOSSES, Suspect, after_leaving, after_loss
from sweepflow.batching import Batch
from sweepflow.engine.workload import Trial

GUILTY = Loss("job 7: FAILED, signal 9 on n1", innocent=False)
INNOCENT = Loss("job 7: CANCELLED", innocent=True)


def suspect(size: int, **held: Any) -> Suspect:
    trials = tuple(Trial(f"trl_{number:016x}", None, number) for number in range(size))
    return Suspect(Job("walks", Batch("walks", 1, 1, trials, size, 1)), **held)


def ids(found: Suspect) -> set[str]:
    return {trial.id for trial in found.job.batch.trials}


@given(
    size=st.integers(1, 40),
    losses=st.integers(0, MOST_LOSSES - 1),
    others=st.integers(0, MOST_INNOCENT),
    bisected=st.booleans(),
    loss=st.sampled_from([GUILTY, INNOCENT]),
    data=st.data(),
)
def test_every_missing_trial_is_run_again_or_given_up(
    size: int, losses: int, others: int, bisected: bool, loss: Loss, data: st.DataObject
) -> None:
    lost = suspect(size, losses=losses, others=others, bisected=bisected)
    missing = data.draw(st.sets(st.sampled_from(sorted(ids(lost))), min_size=1))
    again = after_loss(lost, missing, loss)
    if again.failure:
        assert loss.innocent and others == MOST_INNOCENT and len(missing) == size
        assert not again.run and not again.guilty
        return
    parts = [ids(part) for part in again.run] + [{trial.id for trial in again.guilty}]
    assert sorted(i for part in parts for i in part) == sorted(missing), "each once"
    assert all(ids(part) for part in again.run), "no empty batch"
    assert all(part.refresh for part in again.run), "whatever Prefect remembers of it"
    assert bool(again.why) is bool(again.guilty)
    if loss.innocent:
        assert again.run[0] == replace(again.run[0], losses=losses, bisected=bisected)


@given(size=st.integers(1, 200), guilty=st.data())
def test_the_guilty_one_is_found_in_few_losses_and_the_others_have_results(
    size: int, guilty: st.DataObject
) -> None:
    whole = suspect(size)
    culprit = guilty.draw(st.sampled_from(sorted(ids(whole))))
    waiting, done, lost, given_up = [whole], set[str](), 0, []
    while waiting:
        batch = waiting.pop()
        if culprit not in ids(batch):
            done |= ids(batch)
            continue
        lost += 1
        again = after_loss(batch, ids(batch), GUILTY)
        waiting += again.run
        given_up += again.guilty
    assert [trial.id for trial in given_up] == [culprit]
    assert done == ids(whole) - {culprit}
    assert lost <= MOST_LOSSES + math.ceil(math.log2(size)) + MOST_LOSSES


def test_two_guilty_ones_are_both_found() -> None:
    whole = suspect(8)
    culprits = set(sorted(ids(whole))[2:4])
    waiting, done, given_up = [whole], set[str](), set[str]()
    while waiting:
        batch = waiting.pop()
        if culprits.isdisjoint(ids(batch)):
            done |= ids(batch)
            continue
        again = after_loss(batch, ids(batch), GUILTY)
        waiting += again.run
        given_up |= {trial.id for trial in again.guilty}
    assert given_up == culprits and done == ids(whole) - culprits


def test_what_is_given_up_says_how_often_and_why() -> None:
    alone = suspect(1, losses=MOST_LOSSES - 1)
    assert after_loss(alone, ids(alone), GUILTY).why == (
        "it ended its worker 3 times; the last time: job 7: FAILED, signal 9 on n1"
    )
    unlucky = suspect(4, others=MOST_INNOCENT)
    again = after_loss(unlucky, ids(unlucky), INNOCENT)
    assert not again.run and not again.guilty, "nothing speaks against them"
    assert "21 workers in a row" in again.failure and "CANCELLED" in again.failure
    unlucky = suspect(4, others=MOST_INNOCENT)
    assert after_loss(unlucky, list(ids(unlucky))[:3], INNOCENT).run[0].others == 1, "it got on"


def test_a_batch_is_never_bisected_for_what_is_not_its_own_fault() -> None:
    batch = suspect(8)
    for _ in range(MOST_INNOCENT):
        (batch,) = after_loss(batch, ids(batch), INNOCENT).run
    assert ids(batch) == ids(suspect(8)) and batch.losses == 0


def test_a_batch_that_is_left_goes_on_as_long_as_it_gets_on() -> None:
    batch: Suspect | None = suspect(2)
    for number in range(100):
        batch = after_leaving(batch, frozenset({("trl_1", number)})) if batch else None
    assert batch is not None and batch.fruitless == 0 and batch.refresh
    for number in range(1, MOST_FRUITLESS + 1):
        batch = after_leaving(batch, frozenset({("trl_1", 99)})) if batch else None
        assert (batch is None) is (number == MOST_FRUITLESS)
