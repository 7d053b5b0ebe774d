"""What becomes of batches whose workers are lost, leave, or fail: with a pool that does what a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.states import Completed, Failed
from prefect.tasks import Task

import sweepflow.flows.server.away
import sweepflow.storage.network
from sweepflow.batching import Batch, WorkUnit
from sweepflow.engine.workload import Trial
from sweepflow.flows.dispatch.batches import run_units
from sweepflow.flows.dispatch.blame import MOST_FRUITLESS, MOST_INNOCENT, MOST_LOSSES
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.runners.pool import Event, Loss
from sweepflow.schema.runner import DaskRunner
from sweepflow.storage.record import Record, Status
from sweepflow.storage.reruns import ask_again
from sweepflow.storage.store import Store
from sweepflow.tasks.batch import Ran
from sweepflow.tasks.progress import SweepProgress, TooManyFailuresError
from sweepflow.workloads.landscape import Config
from sweepflow.workloads.load import load_workload

KILLED = Loss("unit 7: FAILED, signal 9 on n1", innocent=False)
CANCELLED = Loss("unit 7: CANCELLED on n1", innocent=True)
LATE = Loss("unit 7 left before its walltime", innocent=True, late=True)
GONE = Loss("unit 7 had gone before it began", innocent=True, begun=False)
WALK = """
import sweepflow

class Config(sweepflow.Config):
    x: sweepflow.Traced[float] = 0.0

def run(config, inputs, key):
    return {"loss": config.x}
"""
Deed = Callable[["Bench", dict[str, Any]], tuple[Any, Loss | None]]
"""What a worker does with a batch: how its task run ends, and how the worker was lost, if it was."""


def ran(left: bool = False, began: bool = True, name: str | None = None) -> Any:
    return Completed(name=name, data=Ran("sweepflow-1-0", left, began, 0, 0)._asdict())


def does(trials: int | None = None, loss: Loss | None = None, state: Any = None) -> Deed:
    """Write the records of so many of its trials, or of all, and end so."""

    def deed(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        for trial in batch["trials"][:trials]:
            bench.store.put(Record(trial["id"], "landscape", 1, "ok", (), trial["config"], {"loss": 1.0}))
        return state or ran(), loss

    return deed


DONE = does()


class Bench:
    """A pool of workers that follow a script, and do their work well where it has ended."""

    waiting = ""

    def __init__(self, store: Store, *script: Deed, places: int = 1, gone: int = 0) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.store, self._script, self._places, self._gone = store, list(script), places, gone
        self.given: list[list[str]] = []
        self.refreshed: list[bool] = []
        self.retired: list[str] = []
        self.told: list[int] = []
        self.lost = self.settled = 0
        self._losses: dict[PrefectFuture[Any], Loss] = {}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None: ...

    def free(self) -> int:
        return self._places - self.events.qsize()

    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any] | None:
        if self._gone:
            self._gone -= 1
            return None
        batch = parameters["batch"]
        self.given.append([trial["id"] for trial in batch["trials"]])
        self.refreshed.append(bool(task.refresh_cache))
        future: PrefectConcurrentFuture[Any] = PrefectConcurrentFuture(uuid4(), Future())
        deed = self._script.pop(0) if self._script else DONE
        state, loss = deed(self, batch)
        future.wrapped_future.set_result(state)
        future.wait()
        if loss is not None:
            self.lost += 1
            self._losses[future] = loss
        self.events.put(future)
        return future

    def hours(self) -> float:
        """A clock, by which batches that are begun together end together, an hour later."""
        return float(-(-self.settled // self._places))

    def loss(self, future: PrefectFuture[Any]) -> Loss | None:
        self.settled += 1
        return self._losses.pop(future, None)

    def retire(self, worker: str) -> None:
        self.retired.append(worker)

    def outstanding(self, batches: int) -> None:
        self.told.append(batches)


def unit(*numbers: int, needs: Sequence[int] = ()) -> WorkUnit:
    config = Config(x=0.0)
    trials = tuple(Trial(name(number), config, number) for number in numbers)
    batch = Batch(f"batch of {numbers[0]}", 1, 1, trials, len(trials), 1)
    return WorkUnit("landscape", batch, frozenset(map(name, needs)))


def name(number: int) -> str:
    return f"trl_{number:016x}"


def run(bench: Bench, *units: WorkUnit, **options: Any) -> Outcome:
    ids = [i for unit in units for i in unit.ids]
    progress = SweepProgress("a sweep", ids, len(units), 0)
    outcome, runner = Outcome(), DaskRunner(checkpoint_seconds=1.0, **options)
    run_units(units, runner, bench.store, progress, bench, outcome)
    if not outcome.failures:
        assert progress.counts.startswith("batches ") and f"trials {len(ids)}/{len(ids)}" in progress.counts
    return outcome


def states(outcome: Outcome) -> list[tuple[str, str]]:
    return [(state.name, state.message or "") for state in outcome.states.values()]


def test_a_batch_is_given_once_what_it_needs_is_there(store: Store) -> None:
    bench = Bench(store, places=3)
    outcome = run(bench, unit(3, needs=[1, 2]), unit(1), unit(2))
    assert bench.given == [[name(1)], [name(2)], [name(3)]]
    assert [state for state, _ in states(outcome)] == ["Completed"] * 3
    assert bench.told == [2, 1, 0], "what is not done, after each that has ended"


def test_trials_of_a_batch_count_in_the_order_that_they_ran_in(store: Store) -> None:
    """One that ends well after many that failed alike begins their count anew."""

    def deed(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        for trial in batch["trials"]:
            status: Status = "ok" if trial is batch["trials"][-1] else "failed"
            bench.store.put(Record(trial["id"], "landscape", 1, status, ("no",), trial["config"], {}))
        return ran(), None

    units = [unit(*range(40)), unit(40)]
    progress = SweepProgress("a sweep", {i for one in units for i in one.ids}, 2, 0, max_failures=1)
    run_units(units, DaskRunner(), store, progress, Bench(store, deed), Outcome())
    assert "trials 41/41" in progress.counts


def test_nobody_gets_a_batch_while_all_are_busy(store: Store) -> None:
    bench = Bench(store, places=1)
    run(bench, unit(1), unit(2), unit(3))
    assert bench.given == [[name(1)], [name(2)], [name(3)]] and bench.told == [2, 1, 0]


def test_a_worker_that_has_just_gone_costs_a_batch_nothing(store: Store) -> None:
    bench = Bench(store, gone=1, places=2)
    outcome = run(bench, unit(1), unit(2))
    assert sorted(bench.given) == [[name(1)], [name(2)]] and not outcome.failures


def test_a_batch_that_is_lost_before_its_first_record_is_run_again_whole(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(store, does(0, KILLED))
    outcome = run(bench, unit(1, 2))
    assert bench.given == [[name(1), name(2)]] * 2
    assert bench.refreshed == [False, True], "whatever Prefect remembers of it"
    assert states(outcome) == [("Crashed", KILLED.why), ("Completed", "")]
    said = capsys.readouterr().err
    assert f"lost the worker of batch of 1, batch 1 of 1, 2 trials: {KILLED.why}" in said
    assert "1 worker lost" in said


def test_a_batch_that_is_lost_in_the_middle_is_run_again_without_what_it_has_done(store: Store) -> None:
    bench = Bench(store, does(1, CANCELLED))
    outcome = run(bench, unit(1, 2, 3), unit(4, needs=[1]))
    assert bench.given[1:] == [[name(2), name(3)], [name(4)]], "what it has done is there for others"
    assert not outcome.failures and len(store.known(map(name, [1, 2, 3]))) == 3


def test_a_batch_that_is_lost_after_its_last_record_is_done(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(store, does(loss=CANCELLED))
    outcome = run(bench, unit(1, 2), unit(3, needs=[1]))
    assert bench.given == [[name(1), name(2)], [name(3)]]
    assert states(outcome)[0] == ("Completed", f"{CANCELLED.why}, after its last record")
    assert "lost the worker of" not in capsys.readouterr().err, "it cost nothing"


def test_the_trial_that_ends_its_workers_is_failed_and_the_rest_goes_on(store: Store) -> None:
    bench = Bench(store, *[does(0, KILLED)] * MOST_LOSSES)
    outcome = run(bench, unit(1), unit(2))
    record = store.get(name(1))
    assert record is not None and record.status == "failed"
    assert record.reasons == (f"it ended its worker {MOST_LOSSES} times; the last time: {KILLED.why}",)
    assert bench.given.count([name(1)]) == MOST_LOSSES and bench.given[-1] == [name(2)]
    assert not outcome.failures, "that is a result of the sweep, not a failure of it"


def test_what_needs_a_trial_that_has_failed_is_not_run_and_said(store: Store) -> None:
    bench = Bench(store, *[does(0, CANCELLED)] * (MOST_INNOCENT + 1))
    outcome = run(bench, unit(1), unit(2, needs=[1]))
    assert bench.given == [[name(1)]] * (MOST_INNOCENT + 1)
    assert outcome.failures == [
        f"batch of 1, batch 1 of 1, 1 trial: {MOST_INNOCENT + 1} workers in a row were lost under it; "
        f"{CANCELLED.why}",
        "batch of 2, batch 1 of 1, 1 trial: what it needs could not be made",
    ]


def test_a_batch_that_is_left_goes_on_elsewhere_first_and_its_worker_is_retired(store: Store) -> None:
    bench = Bench(store, does(1, state=ran(left=True, name="Checkpointed")))
    outcome = run(bench, unit(1, 2), unit(3))
    assert bench.given == [[name(1), name(2)], [name(2)], [name(3)]]
    assert bench.retired == ["sweepflow-1-0"] and bench.refreshed == [False, True, False]
    assert [state for state, _ in states(outcome)] == ["Checkpointed", "Completed", "Completed"]


def test_a_batch_that_every_worker_leaves_as_it_was_ends_as_a_failure(store: Store) -> None:
    leaves = does(0, state=ran(left=True, name="Checkpointed"))
    bench = Bench(store, *[leaves] * 10)
    outcome = run(bench, unit(1))
    assert len(bench.given) == MOST_FRUITLESS
    assert len(outcome.failures) == 1 and "give a longer runner.walltime" in outcome.failures[0]
    assert bench.store.get(name(1)) is None, "with a longer one it may have a result"


def test_a_batch_that_outlasts_its_workers_is_left_as_one_that_is_left(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(store, *[does(0, LATE)] * 10)
    outcome = run(bench, unit(1), unit(2))
    assert bench.given == [[name(1)], [name(2)], [name(1)]], "the other does not wait behind it"
    (failure,) = outcome.failures
    assert "give a longer runner.walltime" in failure and outcome.why == {name(1): failure, name(2): failure}
    assert states(outcome) == [("Crashed", LATE.why)] * MOST_FRUITLESS
    assert not store.known([name(1), name(2)])
    assert "lost the worker" not in capsys.readouterr().err


@pytest.mark.parametrize("places", [1, 4])
def test_a_sweep_of_which_nothing_fits_a_walltime_ends_after_three(
    store: Store, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = does(0, state=ran(left=True, name="Checkpointed"))
    bench = Bench(store, *[leaves] * 1000, places=places)
    monkeypatch.setattr("sweepflow.flows.dispatch.batches.time", SimpleNamespace(monotonic=bench.hours))
    outcome = run(bench, *map(unit, range(100)))
    assert len(bench.given) == MOST_FRUITLESS * places
    if places == 1:
        assert bench.given == [[name(0)], [name(99)], [name(50)]], "which are least alike"
    (failure,) = outcome.failures
    assert failure.startswith("100 trials given up: 3 workers in a row had to leave before any of these")
    assert failure.endswith("give a longer runner.walltime") and len(outcome.why) == 100
    assert bench.told[-1] == 0, "no worker is wanted any more"


@pytest.mark.parametrize("fit", [{8}, {4}, {1, 7}, {0}])
def test_a_sweep_of_which_anything_fits_a_walltime_tries_everything(store: Store, fit: set[int]) -> None:
    def deed(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        fits = batch["trials"][0]["id"] in set(map(name, fit))
        return (DONE if fits else does(0, LATE))(bench, batch)

    bench = Bench(store, *[deed] * 1000)
    outcome = run(bench, *map(unit, range(9)))
    if fit == {1, 7}:
        assert len(bench.given) == MOST_FRUITLESS, "none of the three"
        return
    assert store.known(map(name, range(9))).keys() == set(map(name, fit))
    assert len(bench.given) == 1 + 8 * MOST_FRUITLESS and len(outcome.failures) == 8


@pytest.mark.parametrize("deed", [does(loss=LATE), does(state=ran(left=True, name="Checkpointed"))])
def test_what_is_done_just_before_its_worker_is_gone_fits_a_walltime(store: Store, deed: Deed) -> None:
    bench = Bench(store, deed, *[does(0, LATE)] * 4 * MOST_FRUITLESS)
    outcome = run(bench, *map(unit, range(5)))
    assert len(bench.given) == 1 + 4 * MOST_FRUITLESS and len(outcome.failures) == 4


def test_walltimes_of_which_a_wait_for_a_slot_took_its_share_say_nothing_of_other_batches(
    store: Store,
) -> None:
    bench = Bench(store, *[does(0, LATE)] * 5 * MOST_FRUITLESS)
    outcome = run(bench, *map(unit, range(5)), concurrency_limit="licences")
    assert len(bench.given) == 5 * MOST_FRUITLESS and len(outcome.failures) == 5


def test_workers_that_leave_side_by_side_are_one_walltime(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fifth of five trials at once is done in the third walltime only."""
    leaves = does(0, LATE)
    bench = Bench(store, *[leaves] * 14, DONE, places=5)
    monkeypatch.setattr("sweepflow.flows.dispatch.batches.time", SimpleNamespace(monotonic=bench.hours))
    outcome = run(bench, *map(unit, range(5)))
    assert len(bench.given) == 15 and len(outcome.failures) == 4


def test_what_a_workload_was_planned_as_settles_its_batch(store: Store, tmp_path: Path) -> None:
    """Its file may have been edited, or a neighbour removed, since."""
    file = tmp_path / f"edited_{tmp_path.name}.py"
    file.write_text(WALK)
    workload = load_workload(str(file))
    trial = workload.trial(workload.config_type())

    def deed(bench: Bench, batch: dict[str, Any]) -> tuple[Any, Loss | None]:
        file.write_text("import not_there_at_all")
        return ran(), KILLED

    bench = Bench(store, *[deed] * MOST_LOSSES)
    run(bench, WorkUnit(str(file), Batch("edited", 1, 1, (trial,), 1, 1)))
    assert store.known([trial.id])[trial.id].status == "failed"


def test_the_first_of_trials_that_are_begun_in_turn_keeps_the_others_from_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_turn = SimpleNamespace(run=None, name="landscape", version=1)
    monkeypatch.setattr("sweepflow.flows.dispatch.batches.SweepWorkload", SimpleNamespace)
    monkeypatch.setattr("sweepflow.flows.dispatch.batches.workload_of", lambda unit: in_turn)
    leaves = does(0, state=ran(left=True, name="Checkpointed"))
    bench = Bench(store, does(1, LATE), does(0, LATE), DONE, leaves, does(0, LATE))
    outcome = run(bench, unit(1, 2, 3, 4))
    assert bench.given == [
        [name(1), name(2), name(3), name(4)],
        [name(2), name(3), name(4)],
        [name(3), name(4)],
        [name(2)],
        [name(2)],
    ]
    assert store.known(map(name, range(1, 5))).keys() == {name(1), name(3), name(4)}
    (failure,) = outcome.failures
    assert failure.startswith("batch of 1, batch 1 of 1, 1 trial: 3 workers in a row had to leave")
    assert outcome.why == {name(2): failure}, "whatever its batch was called at first"


def test_a_worker_that_was_gone_before_a_batch_began_is_not_held_against_it(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(store, *[does(0, GONE)] * MOST_LOSSES)
    outcome = run(bench, unit(1, 2))
    assert bench.given == [[name(1), name(2)]] * (MOST_LOSSES + 1) and not outcome.failures
    assert "lost the worker" not in capsys.readouterr().err, "it has lost nothing"


def test_a_batch_that_has_waited_for_a_slot_in_vain_goes_to_the_end(store: Store) -> None:
    bench = Bench(store, *[does(0, state=ran(left=True, began=False))] * 10)
    outcome = run(bench, unit(1), unit(2))
    assert bench.given[:4] == [[name(1)], [name(2)]] * 2
    assert len(bench.given) == 12 and not outcome.failures, "that it waits is not held against it"


def test_what_prefect_remembers_and_the_store_has_lost_is_run_again(store: Store) -> None:
    bench = Bench(store, does(0, state=ran(name="Cached")))
    run(bench, unit(1))
    assert bench.given == [[name(1)]] * 2 and bench.refreshed == [False, True]


def test_a_rerun_asks_prefect_for_nothing_and_a_worker_that_does_not_see_it_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        store.put(Record(name(number), "landscape", 1, "ok", (), {}, {"loss": 2.0}))
    ask_again(store.paths, {name(1), name(2)}, "a run")
    bench = Bench(store)
    run(bench, unit(1))
    assert bench.refreshed == [True] and store.finished([name(1)])[name(1)].figures["loss"] == 1.0
    monkeypatch.setattr(sweepflow.storage.network, "SEEN_SECONDS", 0.0)
    outcome = run(Bench(store, does(0)), unit(2))
    assert "has not seen that its records are to be made again" in outcome.failures[0]
    assert store.known([name(2)])[name(2)].figures["loss"] == 2.0, "which stay"


def test_an_error_in_a_batch_is_said_and_does_not_stop_the_others(store: Store) -> None:
    bench = Bench(store, does(1, state=Failed(data=OSError(28, "No space left on device"))))
    outcome = run(bench, unit(1, 2), unit(3, needs=[1]), unit(4, needs=[2]))
    assert bench.given == [[name(1), name(2)], [name(3)]]
    words = "OSError: [Errno 28] No space left on device"
    assert outcome.failures == [
        f"batch of 1, batch 1 of 1, 2 trials: {words}",
        "batch of 4, batch 1 of 1, 1 trial: what it needs could not be made",
    ]
    assert states(outcome)[0] == ("Failed", words)


def test_what_ends_the_pool_ends_the_sweep(store: Store) -> None:
    bench = Bench(store)
    bench.events.put(ConnectionError("no worker is left"))
    with pytest.raises(ConnectionError, match="no worker is left"):
        run(bench, unit(1))


def test_a_batch_that_no_server_was_there_for_waits_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it has failed: it could not be begun, or its end could not be told."""
    away = Failed(data=httpx.ConnectError("nobody answers", request=httpx.Request("POST", "http://gone/api")))
    asked = iter([False, True, False, True])
    monkeypatch.setattr(sweepflow.flows.server.away, "_answers", lambda: next(asked))
    monkeypatch.setattr(sweepflow.flows.server.away, "_is_prefect", lambda _: True)
    monkeypatch.setattr(sweepflow.flows.server.away, "ASK_SECONDS", 0.0)
    bench = Bench(store, does(0, state=away), does(1, state=away))
    outcome = run(bench, unit(1, 2))
    assert len(bench.given) == 3 and not outcome.failures
    assert next(asked, None) is None, "and is not run before the server is back"


def test_a_server_that_stays_away_is_not_waited_for_without_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweepflow.flows.server.away, "AWAY_SECONDS", 0.0)
    away = Failed(data=httpx.ConnectError("nobody answers"))
    assert "nobody answers" in run(Bench(store, does(0, state=away)), unit(1)).failures[0]
    monkeypatch.setattr(sweepflow.flows.server.away, "_answers", lambda: False)
    bench = Bench(store, does(0, state=away), does(0, state=away), places=2)
    outcome = run(bench, *(unit(number) for number in range(1, 10)), unit(10, needs=[1]))
    assert len(bench.given) == 2, "what is left is not tried for minutes each"
    given_up = "8 trials given up: Prefect's server has not answered for 10 min"
    assert given_up in outcome.failures and len(outcome.why) == 10
    refused = Failed(data=httpx.UnsupportedProtocol("no address"))
    monkeypatch.setattr(sweepflow.flows.server.away, "AWAY_SECONDS", 600.0)
    assert "no address" in run(Bench(store, does(0, state=refused)), unit(2)).failures[0]


def test_a_sweep_that_only_fails_ends_and_one_in_which_anything_succeeds_does_not(store: Store) -> None:
    fails = Failed(data=ValueError("no module named foo"))
    bench = Bench(store, *[does(0, state=fails)] * 9, DONE, *[does(0, state=fails)] * 9)
    assert len(run(bench, *map(unit, range(20))).failures) == 18
    bench = Bench(store, *[does(0, state=fails)] * 40)
    with pytest.raises(TooManyFailuresError, match="no module named foo"):
        run(bench, *map(unit, range(20, 60)))
    assert len(bench.given) - bench.events.qsize() == 10, "what is given by then is all that is"
