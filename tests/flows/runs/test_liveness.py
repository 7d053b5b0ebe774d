"""Whether a run's process lives: looked for on this machine, judged by signs of life elsewhere."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from sweepflow.flows.runs.liveness import (
    Life,
    ago,
    is_alive,
    is_at_work,
    lives,
    process_start,
    this_host,
    this_machine,
)
from sweepflow.flows.runs.record import RunRecord, now, write_run
from sweepflow.storage.store import Store


def run_of(pid: int, started: float, **given: object) -> RunRecord:
    moment = now()
    return RunRecord.model_validate(
        {
            "flow_run_id": "11111111-1111-4111-8111-111111111111",
            "flow": "llc",
            "name": "a sweep",
            "directory": "/",
            "host": this_host(),
            "machine": this_machine(),
            "pid": pid,
            "pid_started": started,
            "started": moment,
            "attempt_started": moment,
            "beat": moment,
            **given,
        }
    )


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits until its input ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_is_alive_until_it_is_killed(process: subprocess.Popen[bytes], store: Store) -> None:
    started = process_start(process.pid)
    assert started is not None
    run = run_of(process.pid, started, beat=now() - datetime.timedelta(days=3))
    assert is_alive(run).life is Life.ALIVE, "however long it has been silent: it may have been suspended"
    write_run(store, run)
    assert lives(store, run.flow_run_id), "what it has is not removed"
    assert not is_at_work(store, run.flow_run_id), "but nobody waits for it"
    write_run(store, run.model_copy(update={"beat": now()}))
    assert is_at_work(store, run.flow_run_id)

    process.kill()
    # Not waited for: a zombie is no process that runs.
    psutil.wait_procs([psutil.Process(process.pid)], timeout=0)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(run).life is Life.DEAD
    process.wait()
    found = is_alive(run)
    assert found.life is Life.DEAD and "the last sign of life 3 d ago" in found.words


def test_a_later_process_with_the_same_pid_is_another(process: subprocess.Popen[bytes]) -> None:
    started = process_start(process.pid)
    assert started is not None
    assert is_alive(run_of(process.pid, started - 1)).life is Life.DEAD


def test_a_start_is_the_same_whenever_it_is_asked_for() -> None:
    starts = {process_start(os.getpid()) for _ in range(100)}
    assert len(starts) == 1 and starts != {None}


def test_a_run_that_has_ended_is_dead_though_its_process_lives() -> None:
    started = process_start(os.getpid())
    assert started is not None
    assert is_alive(run_of(os.getpid(), started)).life is Life.ALIVE
    assert is_alive(run_of(os.getpid(), started, state="completed")).life is Life.DEAD


@pytest.mark.parametrize(
    ("silent", "life"),
    [
        (0, Life.ALIVE),
        (-30, Life.ALIVE),
        (59, Life.ALIVE),
        (61, Life.UNKNOWN),
        (299, Life.UNKNOWN),
        (301, Life.DEAD),
    ],
)
def test_elsewhere_the_latest_sign_of_life_decides(silent: int, life: Life) -> None:
    moment = now()
    beat = moment - datetime.timedelta(seconds=silent)
    found = is_alive(run_of(os.getpid(), 0.0, host="node7", machine="another", beat=beat), moment)
    assert found.life is life and "node7" in found.words


@pytest.mark.parametrize(("silent", "life"), [(30, Life.ALIVE), (61, Life.DEAD)])
def test_a_machine_that_was_started_anew_has_lost_its_processes(silent: int, life: Life) -> None:
    moment = now()
    beat = moment - datetime.timedelta(seconds=silent)
    found = is_alive(run_of(os.getpid(), 0.0, machine="the boot before", beat=beat), moment)
    assert found.life is life


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (180, "3 min"), (7199, "120 min"), (7200, "2 h"), (3 * 86400, "3 d")],
)
def test_spans_of_time_are_said_shortly(seconds: float, words: str) -> None:
    assert ago(seconds) == words
