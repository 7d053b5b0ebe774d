"""Leases: at most one living owner of a trial, whatever order several take and release in."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.storage.leases import Leases, forget, leases_by_owner
from sweepflow.storage.store import Store

TRIALS = [f"trl_{number:016x}" for number in range(3)]
OWNERS = ["one", "two", "three"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(OWNERS), st.sampled_from(["take", "release", "die"]), st.sets(st.sampled_from(TRIALS))
    )
)


@given(STEPS)
def test_a_trial_has_one_living_owner_and_a_dead_one_keeps_nobody_from_it(steps: list) -> None:
    with tempfile.TemporaryDirectory() as root:
        dead: set[str] = set()
        store = Store(Path(root))
        leases = {owner: Leases(store, owner, lambda name: name not in dead) for owner in OWNERS}
        holds: dict[str, str] = {}
        for owner, deed, trials in steps:
            if owner in dead:
                continue
            if deed == "die":
                dead.add(owner)
                holds = {trial: of for trial, of in holds.items() if of != owner}
            elif deed == "take":
                expected = {trial for trial in trials if holds.get(trial, owner) == owner}
                assert leases[owner].take(trials) == expected
                holds |= dict.fromkeys(expected, owner)
            else:
                leases[owner].release(trials)
                holds = {i: of for i, of in holds.items() if (of, i) not in {(owner, t) for t in trials}}
            for one in set(OWNERS) - dead:
                assert leases[one].others(TRIALS) == {i: of for i, of in holds.items() if of != one}


def test_of_threads_that_take_at_once_one_has_each_trial_a_dead_ones_too(store: Store) -> None:
    trials = [f"trl_{number:016x}" for number in range(200)]
    Leases(store, "dead", lambda _: True).take(trials)
    start, taken = threading.Barrier(4), []

    def take(owner: str) -> None:
        leases = Leases(store, owner, lambda name: name != "dead")
        start.wait()
        taken.extend(leases.take(trials))

    threads = [threading.Thread(target=take, args=(f"owner {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == trials


def test_what_was_taken_over_stays_with_the_other(store: Store) -> None:
    first = Leases(store, "one", lambda _: True)
    first.take(TRIALS)
    Leases(store, "two", lambda _: False).take(TRIALS[:2])
    first.release()
    assert {owner: len(paths) for owner, paths in leases_by_owner(store).items()} == {"two": 2}


def test_one_that_was_taken_since_is_not_forgotten(store: Store) -> None:
    Leases(store, "two", lambda _: True).take(TRIALS[:1])
    forget(store.paths.lease(TRIALS[0]), "one")
    assert list(leases_by_owner(store)) == ["two"]


def test_without_links_a_trial_may_be_run_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.symlink", refuse)
    for owner in OWNERS:
        assert Leases(store, owner, lambda _: True).take(TRIALS) == set(TRIALS)


def test_a_file_that_is_no_link_is_nobodys(store: Store) -> None:
    path = store.paths.lease(TRIALS[0])
    path.parent.mkdir(parents=True)
    path.write_text("one")
    leases = Leases(store, "two", lambda owner: owner == "one")
    assert leases.others(TRIALS) == {} and leases.take(TRIALS[:1]) == set(TRIALS[:1])
