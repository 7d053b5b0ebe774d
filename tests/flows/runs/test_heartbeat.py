"""Signs of life: a run file that says how the flow is, and in the end how it went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import pytest
from prefect.exceptions import CancelledRun, TerminationSignal

from sweepflow.errors import ConfigError, StoreError
from sweepflow.flows.runs import heartbeat
from sweepflow.flows.runs.heartbeat import Beat, beating
from sweepflow.flows.runs.liveness import Life, is_alive
from sweepflow.flows.runs.record import RunFileWarning, RunRecord, get_run
from sweepflow.flows.runs.requests import ask_to_cancel, cancel_asked
from sweepflow.storage.leases import Leases, leases_by_owner
from sweepflow.storage.store import Store
from tests.slurm.processes import PATIENCE


def begin(store: Store, flow_run_id: str) -> AbstractContextManager[Beat]:
    return beating(
        store,
        name="a sweep",
        command="sweepflow llc",
        flow_run_id=flow_run_id,
        flow="llc",
        parameters={"overrides": ["model=small"]},
    )


def wait_until(store: Store, flow_run_id: str, condition: Callable[[RunRecord], bool]) -> RunRecord:
    deadline = time.monotonic() + PATIENCE
    while (found := get_run(store, flow_run_id)) is None or not condition(found):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_the_file_is_there_at_once_and_says_that_it_completed(store: Store) -> None:
    run = str(uuid4())
    with begin(store, run):
        found = get_run(store, run)
        assert found is not None and found.state == "running" and found.attempt == 1
        assert is_alive(found).life is Life.ALIVE
        assert found.pid == os.getpid() and found.parameters == {"overrides": ["model=small"]}
        assert found.api_url is None and found.versions["jax"]
    ended = get_run(store, run)
    assert ended is not None and ended.state == "completed" and ended.reason is None
    assert is_alive(ended).life is Life.DEAD


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ValueError("no\n  such thing"), "failed", "ValueError: no such thing"),
        (StoreError("it cannot be written", got="a\nb", do="mend it"), "failed", "it cannot be written: a b"),
        (KeyboardInterrupt(), "crashed", "interrupted (Ctrl-C)"),
        (TerminationSignal(signal=15), "crashed", "ended from outside (TERM)"),
        (SystemExit(3), "crashed", "SystemExit: 3"),
        (CancelledRun("gone"), "cancelled", "cancelled in Prefect"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_file_says_how_the_run_ended(store: Store, error: BaseException, state: str, reason: str) -> None:
    run = str(uuid4())
    with pytest.raises(type(error)), begin(store, run):
        raise error
    ended = get_run(store, run)
    assert ended is not None and (ended.state, ended.reason) == (state, reason)


def test_news_are_written_soon_and_from_any_thread(store: Store) -> None:
    run = str(uuid4())
    with begin(store, run) as beat:
        threads = [threading.Thread(target=beat.note, kwargs={"total": 40, "known": 8}) for _ in range(4)]
        threads += [threading.Thread(target=beat.note, kwargs={"lost": 2, "waiting": "3 jobs: Resources"})]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = wait_until(store, run, lambda record: record.lost == 2 and record.total == 40)
        assert (found.known, found.waiting) == (8, "3 jobs: Resources")
        beat.note(done=9, waiting="")
        assert wait_until(store, run, lambda record: record.done == 9).waiting == ""
    ended = get_run(store, run)
    assert ended is not None and (ended.done, ended.total, ended.waiting) == (9, 40, None)


def test_a_silent_run_beats(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "NEWS_SECONDS", 0.01)
    run = str(uuid4())
    with begin(store, run) as beat:
        first = beat.record.beat
        wait_until(store, run, lambda record: record.beat > first)


def test_a_run_that_begins_again_keeps_its_beginning(store: Store) -> None:
    run = str(uuid4())
    with pytest.raises(ValueError, match="no"), begin(store, run):
        raise ValueError("no")
    before = get_run(store, run)
    with begin(store, run) as beat:
        assert before is not None and beat.record.started == before.started
        assert beat.record.attempt == 2 and beat.record.reason is None
        assert beat.record.attempt_started >= before.beat


def test_a_run_that_begins_again_has_nothing_in_hand(store: Store) -> None:
    """A kill may come between a trial's record and the end of its lease: nobody takes it again."""
    trial, runs = "trl_0123456789abcdef", [str(uuid4()), str(uuid4())]
    for run, number in zip(runs, "01", strict=True):
        with begin(store, run):
            pass
        Leases(store, run, lambda _: True).take({trial[:-1] + number})
    with begin(store, runs[0]):
        assert list(leases_by_owner(store)) == runs[1:], "those of others stay"


def test_an_old_request_does_not_end_a_new_attempt(store: Store) -> None:
    run = str(uuid4())
    ask_to_cancel(store, run, "somebody")
    with begin(store, run):
        assert cancel_asked(store, run) is None


def test_a_store_that_cannot_be_written_ends_no_sweep(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "NEWS_SECONDS", 0.01)
    store.root.mkdir()
    (store.root / "runs").write_text("no directory")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with begin(store, str(uuid4())) as beat:
            first = beat.record.beat
            deadline = time.monotonic() + PATIENCE
            while beat.record.beat == first and time.monotonic() < deadline:
                time.sleep(0.01)
            assert beat.record.beat > first, "it goes on trying"
    said = [warning for warning in caught if issubclass(warning.category, RunFileWarning)]
    assert len(said) == 1 and "cannot be written" in str(said[0].message)


def test_outside_a_flow_a_run_has_to_be_named(store: Store) -> None:
    with pytest.raises(RuntimeError, match="flow_run_id"), beating(store, name="x", command="x"):
        pass


CANCELLED_FROM_ELSEWHERE = """
import signal, sys, time
from pathlib import Path
from prefect.exceptions import TerminationSignal
from sweepflow.flows.runs.heartbeat import beating
from sweepflow.storage.store import Store
def terminated(number, frame):
    raise TerminationSignal(signal=number)
signal.signal(signal.SIGTERM, terminated)
with beating(
    Store(Path(sys.argv[1])), name="n", command="c", flow_run_id=sys.argv[2], flow="llc", parameters={}
):
    print("running", flush=True)
    time.sleep(60)
"""


def test_a_request_in_the_store_ends_the_process(store: Store) -> None:
    run = str(uuid4())
    with subprocess.Popen(
        [sys.executable, "-c", CANCELLED_FROM_ELSEWHERE, str(store.root), run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"running\n"
        ask_to_cancel(store, run, "a colleague on login1")
        assert process.wait(PATIENCE) != 0
    ended = get_run(store, run)
    assert ended is not None
    assert (ended.state, ended.reason) == ("cancelled", "cancelled by a colleague on login1")


def test_what_is_said_is_json_that_others_can_read(store: Store) -> None:
    run = str(uuid4())
    with begin(store, run) as beat:
        assert isinstance(beat, Beat)
    content = json.loads(store.paths.run(run).read_text())
    assert content["flow_run_id"] == run and content["beat"].endswith("Z")


def test_what_was_refused_before_any_work_leaves_no_run(store: Store) -> None:
    run = str(uuid4())
    with pytest.raises(ConfigError), begin(store, run):
        raise ConfigError("there is no such partition")
    assert get_run(store, run) is None


def test_what_was_refused_after_some_work_is_a_run_that_failed(store: Store) -> None:
    run = str(uuid4())

    def sweep() -> None:
        with begin(store, run) as beat:
            beat.note(total=3, known=1, done=2)
            raise ConfigError("the workload changed after this sweep was planned")

    with pytest.raises(ConfigError):
        sweep()
    found = get_run(store, run)
    assert found is not None and found.state == "failed" and "workload changed" in str(found.reason)
