"""Of two that go on with one run, one wins; a killed holder blocks nobody."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from uuid import uuid4

import pytest

from sweepflow.errors import ConfigError
from sweepflow.flows.runs import claim as claims
from sweepflow.flows.runs.claim import alone, claim, lock_path
from sweepflow.flows.runs.liveness import process_start, this_machine
from sweepflow.flows.runs.record import now, write_run
from sweepflow.storage.store import Store
from tests.flows.runs.test_record import record

HOLD = """
import sys
from pathlib import Path
from sweepflow.flows.runs.claim import claim
from sweepflow.storage.store import Store
with claim(Store(Path(sys.argv[1])), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_of_two_wins_until_it_is_killed(store: Store) -> None:
    run = record()
    write_run(store, run)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root), run.flow_run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ConfigError, match="another process is going on") as raised,
            claim(store, run.flow_run_id),
        ):
            pass
        assert f"process {holder.pid} on" in str(raised.value)

        holder.kill()
        holder.wait()
        with claim(store, run.flow_run_id):
            assert lock_path(store, run.flow_run_id).exists()


def test_a_claim_that_is_over_can_be_made_again(store: Store) -> None:
    run = record()
    write_run(store, run)
    for _ in range(3):
        with claim(store, run.flow_run_id):
            pass


def test_a_second_process_leaves_a_run_to_the_first(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as first:
        started = process_start(first.pid)
        assert started is not None
        run = record(machine=this_machine(), pid=first.pid, pid_started=started)
        write_run(store, run)
        with (
            pytest.raises(ConfigError, match=f"process {first.pid} on this machine"),
            alone(store, run.flow_run_id),
        ):
            raise AssertionError("it has begun")
        first.kill()
        first.wait()
        with alone(store, run.flow_run_id), alone(store, run.flow_run_id):  # in one process, as in `resume`
            assert lock_path(store, run.flow_run_id).exists()
    assert not lock_path(store, run.flow_run_id).exists()


def test_two_that_begin_at_once_are_told_apart_by_the_lock(store: Store) -> None:
    run = str(uuid4())
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root), run], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="at this run already"), alone(store, run):
            raise AssertionError("it has begun")
        holder.kill()


@pytest.mark.parametrize("ago", [2, 120, 3600, -600], ids="{} s".format)
@pytest.mark.parametrize("beats", [True, False])
def test_one_on_another_machine_is_known_by_its_next_sign_of_life(
    store: Store, monkeypatch: pytest.MonkeyPatch, ago: int, beats: bool
) -> None:
    """However the clocks of the two differ."""
    latest = now() - timedelta(seconds=ago)
    run = record(machine="another boot", host="node7", beat=latest)
    write_run(store, run)
    for name in ("WATCH_SECONDS", "WATCH_DEAD_SECONDS"):
        monkeypatch.setattr(claims, name, 0.3)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if beats:
            write_run(store, run.model_copy(update={"beat": latest + timedelta(seconds=5)}))

    monkeypatch.setattr(claims.time, "sleep", wait)
    if beats:
        with pytest.raises(ConfigError, match="node7"), alone(store, run.flow_run_id):
            raise AssertionError("it has begun")
    else:
        with alone(store, run.flow_run_id):
            pass
    assert waits
