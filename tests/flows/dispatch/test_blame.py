"""Which trial of a batch ends its workers: the laws of being run again, cut, and given up."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sweepflow.batching import Batch, WorkUnit
from sweepflow.engine.workload import Trial
from sweepflow.flows.dispatch.blame import (
    MOST_FRUITLESS,
    MOST_INNOCENT,
    MOST_LOSSES,
    Suspect,
    Walltimes,
    after_leaving,
    after_loss,
    far_apart,
    spread,
)
from sweepflow.flows.runners.pool import Loss

GUILTY = Loss("unit 7: FAILED, signal 9 on n1", innocent=False)
INNOCENT = Loss("unit 7: CANCELLED", innocent=True)


def suspect(size: int, **held: Any) -> Suspect:
    trials = tuple(Trial(f"trl_{number:016x}", None, number) for number in range(size))
    return Suspect(WorkUnit("walks", Batch("walks", 1, 1, trials, size, 1)), **held)


def ids(found: Suspect) -> set[str]:
    return {trial.id for trial in found.unit.batch.trials}


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
        "it ended its worker 3 times; the last time: unit 7: FAILED, signal 9 on n1"
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
    batch = suspect(2)
    for number in range(100):
        (batch,) = after_leaving(batch, ids(batch), frozenset({("trl_1", number)}), in_turn=False).run
    for _ in range(MOST_FRUITLESS - 1):
        again = after_leaving(batch, ids(batch), frozenset({("trl_1", 99)}), in_turn=False)
        assert not again.run and not again.guilty
        (batch,) = again.last
    again = after_leaving(batch, ids(batch), frozenset({("trl_1", 99)}), in_turn=False)
    assert not again.run and not again.last and not again.guilty, "nothing is said of its trials"
    assert "give a longer runner.walltime, or a smaller runner.batch_size" in again.failure
    batch = replace(batch, fruitless=MOST_FRUITLESS - 1)
    (batch,) = after_leaving(batch, list(ids(batch))[:1], frozenset(), in_turn=False).run
    assert len(ids(batch)) == 1 and not batch.fruitless, "a trial is done"


@given(
    fits=st.lists(st.booleans(), min_size=1, max_size=20),
    each=st.integers(1, 4),
)
def test_trials_that_outlast_every_worker_cost_three_each_and_keep_the_others_from_nothing(
    fits: list[bool], each: int
) -> None:
    """Trials in turn, of which a worker's time is enough for so many that fit."""
    whole = suspect(len(fits))
    order = [trial.id for trial in whole.unit.batch.trials]
    long = {i for i, short in zip(order, fits, strict=True) if not short}
    waiting, done, given_up, fruitless = [whole], set[str](), set[str](), 0
    ended_at: list[str] = []
    while waiting:
        batch = waiting.pop(0)
        todo = [trial.id for trial in batch.unit.batch.trials]
        finished: list[str] = []
        while len(finished) < min(each, len(todo)) and todo[len(finished)] not in long:
            finished.append(todo[len(finished)])
        done |= set(finished)
        ended_at += finished
        missing = [i for i in todo if i not in finished]
        if not missing:
            continue
        fruitless += not finished
        again = after_leaving(batch, missing, frozenset(), in_turn=True)
        if again.failure:
            assert [*missing] == todo and len(todo) == 1
            given_up |= set(missing)
            ended_at += missing
        waiting = [*again.run, *waiting, *again.last]
    assert done == set(order) - long and given_up == long
    assert fruitless == MOST_FRUITLESS * len(long)
    assert ended_at[: len(done)] == [i for i in order if i not in long], "they did not wait"


@given(units=st.integers(1, 20), walltimes=st.lists(st.booleans(), max_size=8))
def test_a_sweep_is_hopeless_after_three_walltimes_however_many_workers(
    units: int, walltimes: list[bool]
) -> None:
    """Workers that begin together leave together; in some walltimes something is done."""
    held = Walltimes()
    for hour, fits in enumerate(walltimes):
        for worker in range(units):
            if fits and not worker:
                held = replace(held, fits=True)
            else:
                held = held.after(hour + worker / 100, hour + 1.1 + worker / 100)
    assert held.hopeless is (not any(walltimes) and len(walltimes) >= MOST_FRUITLESS)


@given(items=st.lists(st.integers(), unique=True))
def test_what_is_least_alike_is_tried_first_and_nothing_is_left_out(items: list[int]) -> None:
    found = far_apart(items)
    assert sorted(found) == sorted(items)
    assert not items or found[0] == items[-1]
    assert len(items) < 3 or found[1] == items[(len(items) - 1) // 2]


def test_trials_within_batches_are_spread_too() -> None:
    found = spread([suspect(5), suspect(1)])
    assert [[trial.seed for trial in one.unit.batch.trials] for one in found] == [[0], [4, 2, 0, 1, 3]]
