"""What a sweep says of how far it is."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.tasks.output import progress_shown
from sweepflow.tasks.progress import LOOK_SECONDS, SAME_LINE_SECONDS, SweepProgress, TooManyFailuresError


@pytest.fixture
def told() -> dict[str, Any]:
    return {}


@pytest.fixture
def progress(told: dict[str, Any]) -> SweepProgress:
    """Of three trials in two batches, with two more in the store; without a Prefect server to show it."""
    return SweepProgress("a sweep", ["trl_1", "trl_2", "trl_3"], 2, 2, tell=lambda **said: told.update(said))


def record(trial_id: str) -> Record:
    return Record(trial_id, "walks", 1, "ok", (), {}, {})


def test_trials_count_once_whoever_says_so(progress: SweepProgress, told: dict[str, Any]) -> None:
    progress.trial_done(record("trl_1"))
    progress.trial_done(record("trl_1"))
    progress.batch_done("batch 1", {"trl_1", "trl_2"}, "Completed")
    assert (told["total"], told["done"], told["known"]) == (5, 4, 2)
    assert progress.counts == "batches 1/2, trials 2/3, 2 from the store"


def test_trials_without_a_record_do_not_count(progress: SweepProgress, told: dict[str, Any]) -> None:
    progress.batch_done("batch 1", set(), "Failed")
    assert told["done"] == 2 and progress.counts.startswith("batches 1/2, trials 0/3")


def test_a_long_batch_shows_how_far_it_is(progress: SweepProgress, told: dict[str, Any]) -> None:
    progress.points("batch 1", 1, 4)
    assert told["waiting"] == "25% of batch 1"
    progress.points("a target that is not trained", 0, 0)
    assert "100% of a target that is not trained" in told["waiting"]
    progress.now("2 jobs pending (2 for Resources)", 0, ("", 0.0))
    assert told["waiting"] == "2 jobs pending (2 for Resources)", "that comes first"
    progress.now("", 0, ("", 0.0))
    progress.batch_done("batch 1", {"trl_1"}, "Completed")
    assert "batch 1" not in told["waiting"]


def test_what_workers_do_is_said_once(
    progress: SweepProgress, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        progress.now("1 job starting", 1, ("batch 1", 600.0))
    said = capsys.readouterr().err
    assert said.count("waiting: 1 job starting") == 1 and said.count("workers lost: 1") == 1
    assert told["lost"] == 1


def test_a_batch_that_was_cut_is_several(progress: SweepProgress) -> None:
    progress.split(1)
    assert progress.counts.startswith("batches 0/3")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tick(progress: SweepProgress, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    progress.now("", 0, ("", 0.0))


def test_what_others_write_counts_before_their_batch_has_ended(
    store: Store, clock: Clock, told: dict[str, Any]
) -> None:
    """Batches on workers say what they have done when they end; an old failure is none of it."""
    ids = [f"trl_{number:016x}" for number in range(3)]
    store.put(replace(record(ids[0]), status="failed"))
    progress = SweepProgress(
        "a sweep", (), 0, 0, tell=lambda **said: told.update(said), store=store, clock=clock
    )
    progress.expect(ids, 1)
    tick(progress, clock, LOOK_SECONDS)
    assert told["done"] == 0
    store.put(record(ids[1]))
    tick(progress, clock, 1.0)
    assert told["done"] == 0, "not every second"
    tick(progress, clock, LOOK_SECONDS)
    assert told["done"] == 1
    os.utime(store.paths.record(ids[0]), ns=(0, 0))  # it has failed again
    tick(progress, clock, LOOK_SECONDS)
    assert told["done"] == 2


def test_a_store_that_cannot_be_looked_at_ends_nothing(store: Store, clock: Clock) -> None:
    store.root.mkdir(parents=True, exist_ok=True)
    store.paths.folder("trl").write_text("a file where records should go")
    progress = SweepProgress("a sweep", (), 0, 0, store=store, clock=clock)
    progress.expect([f"trl_{1:016x}"], 1)
    tick(progress, clock, LOOK_SECONDS)
    assert "trials 0/1" in progress.counts


def test_a_look_that_takes_long_is_seldom_repeated(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def written(_: Store, ids: Any) -> dict[str, int]:
        looks.append(clock.now)
        clock.now += 10.0
        return {}

    monkeypatch.setattr(Store, "written", written)
    progress = SweepProgress("a sweep", ["trl_1"], 1, 0, store=store, clock=clock)
    looks.clear()
    for _ in range(300):
        tick(progress, clock, 1.0)
    assert len(looks) == 2, "ten seconds, and not again for two hundred"


def test_without_a_terminal_a_line_a_minute_says_how_far_it_is(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = SweepProgress("a sweep", (), 0, 2, clock=clock)
    progress.expect(["trl_1", "trl_2"], 1)
    assert capsys.readouterr().err == "a sweep: batches 0/1, trials 0/2, 2 from the store\n"
    for second in range(600):
        progress.points("batch 1", second // 300, 4)
        tick(progress, clock, 1.0)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"a sweep: batches 0/1, trials 0/2, 2 from the store; {n}% of batch 1" for n in (0, 25)]
    for _ in range(int(SAME_LINE_SECONDS)):
        tick(progress, clock, 1.0)
    assert len(capsys.readouterr().err.splitlines()) == 1, "that nothing changes is said, too, but seldom"


def test_a_sweep_that_only_fails_is_ended(clock: Clock) -> None:
    ids = [f"trl_{number}" for number in range(20)]
    progress = SweepProgress("a sweep", ids, 1, 0, clock=clock)
    for trial_id in ids[:9]:
        progress.trial_done(replace(record(trial_id), status="failed", reasons=("exit code 1",)))
    tick(progress, clock, 1.0)
    progress.batch_done("batch 1", (), "Failed", "exit code 2")
    with pytest.raises(TooManyFailuresError, match="10 calls in a row failed alike") as raised:
        tick(progress, clock, 1.0)
    assert "exit code" in str(raised.value) and "--max-failures 0" in str(raised.value)
    assert "11 of 20 trials not run" in raised.value.what
    assert "the same command again: it goes on with the trials that were not run" in str(raised.value.do)
    other = SweepProgress("a sweep", ids, 1, 0, max_failures=1, clock=clock, advice="call it again")
    other.batch_done("batch 1", (), "Failed", "exit code 2")
    with pytest.raises(TooManyFailuresError) as raised:
        tick(other, clock, 1.0)
    assert raised.value.do == "call it again"
    patient = SweepProgress("a sweep", ids, 1, 0, max_failures=0, clock=clock)
    for trial_id in ids:
        patient.trial_done(replace(record(trial_id), status="failed", reasons=("exit code 1",)))
    tick(patient, clock, 1.0)


def test_trials_that_failed_without_a_record_were_run_and_those_of_the_store_count(clock: Clock) -> None:
    progress = SweepProgress("a sweep", [f"trl_{n}" for n in range(6)], 3, 4, max_failures=2, clock=clock)
    for place in (0, 2):
        progress.batch_done(f"batch {place}", (), "Failed", "no", [f"trl_{place}", f"trl_{place + 1}"])
    with pytest.raises(TooManyFailuresError, match=r"2 calls in a row .* 2 of 10 trials not run"):
        tick(progress, clock, 1.0)
    progress.expect(["trl_0"], 1)
    with pytest.raises(TooManyFailuresError, match="3 of 10 trials not run"):
        tick(progress, clock, 1.0)


def test_a_sweep_of_which_nothing_is_left_to_run_comes_to_its_own_end(clock: Clock) -> None:
    progress = SweepProgress("a sweep", ["trl_0", "trl_1"], 1, 0, max_failures=2, clock=clock)
    for trial_id in ("trl_0", "trl_1"):
        progress.trial_done(replace(record(trial_id), status="failed", reasons=("exit code 1",)))
    tick(progress, clock, 1.0)
    progress.expect(["trl_2"], 1)  # of a later stage
    with pytest.raises(TooManyFailuresError, match="1 of 3 trials not run"):
        tick(progress, clock, 1.0)


def test_a_success_that_the_store_has_and_nobody_has_seen_yet_counts(clock: Clock, store: Store) -> None:
    progress = SweepProgress("a sweep", (), 0, 0, store=store, max_failures=1, clock=clock)
    progress.expect(["trl_0", "trl_1", "trl_2"], 1)
    tick(progress, clock, 1.0)
    progress.trial_done(replace(record("trl_0"), status="failed", reasons=("exit code 1",)))
    store.put(record("trl_1"))
    tick(progress, clock, 0.0)


def test_what_one_look_finds_counts_in_the_order_of_its_ends(
    clock: Clock, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"trl_{number:016x}" for number in range(4)]
    progress = SweepProgress("a sweep", ids, 1, 0, store=store, max_failures=2, clock=clock)
    store.put(record(ids[2]))
    for trial_id in ids[:2]:
        store.put(replace(record(trial_id), status="failed", reasons=("exit code 1",)))
    monkeypatch.setattr(Store, "written", lambda *_: {ids[2]: 3, ids[0]: 1, ids[1]: 2})
    tick(progress, clock, 1.0)
    assert "trials 3/4" in progress.counts


def test_trials_that_failed_in_one_call_are_one_failure(clock: Clock) -> None:
    progress = SweepProgress("a sweep", (), 0, 0, max_failures=2, clock=clock)
    ids = [f"trl_{number}" for number in range(8)]
    progress.expect(ids, 2, {i: f"batch {n // 4}" for n, i in enumerate(ids)})
    for trial_id in ids[:4]:
        progress.trial_done(replace(record(trial_id), status="failed", reasons=("it does not compile",)))
    tick(progress, clock, 1.0)
    progress.trial_done(replace(record(ids[4]), status="failed", reasons=("it does not compile",)))
    with pytest.raises(TooManyFailuresError):
        tick(progress, clock, 1.0)


def test_a_quiet_sweep_says_nothing_of_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_shown(False):
        progress = SweepProgress("a sweep", ["trl_1"], 1, 0)
    progress.now("1 job starting", 1, ("batch 1", 600.0))
    progress.say("1 program compiled")
    progress.batch_done("batch 1", {"trl_1"}, "Completed")
    assert capfd.readouterr() == ("", "") and progress.counts == "batches 1/1, trials 1/1, 0 from the store"
