"""Two sweeps that want the same trials at once: each runs what the other does not."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sweepflow.flows.dispatch import batches as dispatch
from sweepflow.flows.dispatch import shared
from sweepflow.flows.dispatch.batches import run_units
from sweepflow.flows.dispatch.blame import Suspect
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.shared import LOOKED_FOR, Shared
from sweepflow.flows.runners.pool import Loss
from sweepflow.schema.runner import DaskRunner
from sweepflow.storage.leases import Leases, leases_by_owner
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import SweepProgress
from tests.flows.dispatch.test_batches import Bench, does, name, unit

ALIVE = {"mine", "theirs"}


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(shared, "LOOK_SECONDS", 0.0)


def leases(store: Store, owner: str) -> Leases:
    return Leases(store, owner, ALIVE.__contains__)


def run(bench: Bench, *units: Any, owner: str = "mine") -> tuple[Outcome, str]:
    progress = SweepProgress("a sweep", [i for unit in units for i in unit.ids], len(units), 0)
    runner = DaskRunner(checkpoint_seconds=1.0)
    outcome = Outcome()
    run_units(units, runner, bench.store, progress, bench, outcome, leases(bench.store, owner))
    return outcome, progress.counts


def finish(store: Store, theirs: Leases, *numbers: int) -> None:
    for number in numbers:
        store.put(Record(name(number), "landscape", 1, "ok", (), {"x": 0.0}, {"loss": 2.0}))
    theirs.release()


def test_what_another_runs_is_waited_for_and_the_rest_is_run_first(store: Store) -> None:
    theirs = leases(store, "theirs")
    theirs.take({name(1), name(2)})

    def meanwhile(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        finish(store, theirs, 1, 2)
        return does()(bench, batch)

    bench = Bench(store, meanwhile)
    outcome, counts = run(bench, unit(2), unit(1, 3, 4), unit(5, needs=[2]))
    assert bench.given == [[name(3), name(4)], [name(5)]]
    assert not outcome.failures and counts == "batches 4/4, trials 5/5, 0 from the store"
    assert not leases_by_owner(store)


@pytest.mark.parametrize("ends", ["dies", "lets go"])
def test_what_another_has_not_done_is_run_here(store: Store, ends: str) -> None:
    theirs = leases(store, "theirs")
    theirs.take({name(1)})

    def meanwhile(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        ALIVE.discard("theirs") if ends == "dies" else theirs.release()
        return does()(bench, batch)

    bench = Bench(store, meanwhile)
    try:
        outcome, _ = run(bench, unit(1), unit(2))
    finally:
        ALIVE.add("theirs")
    assert bench.given == [[name(2)], [name(1)]] and not outcome.failures


def test_one_that_takes_longer_than_it_takes_here_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LEAST_PATIENCE_SECONDS", 0.0)
    leases(store, "theirs").take({name(1)})
    bench = Bench(store)
    outcome, _ = run(bench, unit(2, 1))
    assert bench.given == [[name(2)], [name(1)]] and not outcome.failures
    assert leases_by_owner(store) == {"theirs": [store.paths.lease(name(1))]}, "it may still come to an end"


def test_two_at_once_run_each_trial_once_together(store: Store) -> None:
    units = [unit(*range(first, first + 5)) for first in range(0, 100, 5)]
    start = threading.Barrier(2)
    computed: list[str] = []
    outcomes: list[Outcome] = []

    def work(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        known = store.finished(trial["id"] for trial in batch["trials"])
        computed.extend(trial["id"] for trial in batch["trials"] if trial["id"] not in known)
        return does()(bench, batch)

    def sweep(owner: str) -> None:
        start.wait()
        outcomes.append(run(Bench(store, *[work] * 100), *units, owner=owner)[0])

    threads = [threading.Thread(target=sweep, args=(owner,)) for owner in ALIVE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.failures for outcome in outcomes] == [[], []]
    assert sorted(computed) == [name(number) for number in range(100)]
    assert not leases_by_owner(store)


def test_looking_costs_little_however_much_there_is_to_wait_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def is_alive(owner: str) -> bool:
        asked.append(owner)
        clock["now"] += 3.0  # on a slow file system
        return True

    clock = {"now": 0.0}
    monkeypatch.setattr(shared.time, "monotonic", lambda: clock["now"])
    leases(store, "theirs").take({name(number) for number in range(40)})
    mine = Shared(Leases(store, "mine", is_alive))
    for first in range(0, 40, 2):
        assert mine.take(Suspect(unit(first, first + 1))) is None
    asked.clear()
    clock["now"] = 0.0
    for _ in range(100):
        assert mine.let_go(idle=False) == []
        clock["now"] += LOOKED_FOR * 3.0 / 10
    assert mine.owners == {"theirs"} and len(mine) == 20
    assert 5 <= len(asked) <= 10, "each owner once a look, and a look as often as it is quick"


def test_who_is_waited_for_is_named_without_looking_through_all_runs_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, named = leases(store, "theirs"), list[str]()
    theirs.take({name(1)})
    looks = iter(range(5))

    def one_more(mine: Leases, trial_ids: Any) -> dict[str, str]:
        if next(looks, None) is None:
            finish(store, theirs, 1)
        return others(mine, trial_ids)

    others = Leases.others
    monkeypatch.setattr(Leases, "others", one_more)
    monkeypatch.setattr(dispatch, "short_id", lambda store, owner: named.append(owner) or owner)
    outcome, _ = run(Bench(store), unit(1))
    assert not outcome.failures and named == ["theirs"]
