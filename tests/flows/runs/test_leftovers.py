"""What `sweepflow cleanup` finds: real processes and files, and nothing that somebody still uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sweepflow.flows.runs.leftovers import Leftover, dead_servers, leftovers, remove
from sweepflow.flows.runs.liveness import process_start, this_host, this_machine
from sweepflow.flows.runs.record import RunRecord, get_run, runs, write_run
from sweepflow.flows.runs.table import leftovers_table
from sweepflow.storage.store import Store
from tests.flows.runs.test_record import minutes_ago, record
from tests.prefect_server import isolated
from tests.slurm.processes import PATIENCE

THIRTY_ONE_DAYS = 31 * 24 * 60.0


def found(store: Store) -> list[Leftover]:
    """What is left behind in the store; servers of this machine have tests of their own."""
    return [item for item in leftovers(store, print) if item.kind not in ("temporary server", "SLURM job")]


def ours(**given: object) -> RunRecord:
    """A run of this machine."""
    return record(host=this_host(), machine=this_machine(), **given)


def test_nothing_is_left_behind_in_an_empty_store(store: Store) -> None:
    assert found(store) == []


def test_dead_runs_are_closed_and_those_alive_are_not_touched(store: Store) -> None:
    start = process_start(os.getpid())
    alive = ours(pid=os.getpid(), pid_started=start)
    dead = ours(pid=os.getpid(), pid_started=(start or 0) - 1, beat=minutes_ago(3), api_url=None)
    unknown = record(beat=minutes_ago(3))
    ended = ours(state="failed", beat=minutes_ago(3))
    for run in (alive, dead, unknown, ended):
        write_run(store, run)
    (item,) = found(store)
    assert item.kind == "dead run" and dead.flow_run_id[:8] in item.name
    assert "still be resumed" in item.why and 170 < (item.age or 0) < 190

    item.remove()
    closed = get_run(store, dead.flow_run_id)
    assert closed is not None and closed.state == "crashed" and "is gone" in (closed.reason or "")
    assert [get_run(store, run.flow_run_id) for run in (alive, unknown, ended)] == [alive, unknown, ended]
    assert found(store) == []


def test_slurm_is_asked_where_it_was_used(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(
        "#!/bin/sh\necho 'squeue: error: resolve_ctls_from_dns_srv: Unknown host' >&2\nexit 1\n"
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    said: list[str] = []
    todo = "run `sweepflow cleanup` where `squeue --me` answers"
    words = f"SLURM's jobs were not looked at: squeue failed; {todo}"
    for run in (ours(state="completed", runner="local"), ours(state="completed", runner="dask")):
        write_run(store, run)
    leftovers(store, said.append)
    assert said == []
    leftovers(store, said.append, everything=True)
    assert said == [words]
    write_run(store, ours(state="completed", runner="slurm"))
    leftovers(store, said.append)
    assert said == [words, words]


def test_calls_on_their_way_are_left_behind_by_sweeps_that_are_dead(store: Store) -> None:
    alive = ours(pid=os.getpid(), pid_started=process_start(os.getpid()))
    write_run(store, alive)
    sent = store.paths.calls(alive.flow_run_id) / "function.pickle"
    sent.parent.mkdir(parents=True)
    sent.write_bytes(b"a function")
    assert found(store) == [], "it is on its way"
    write_run(store, alive.model_copy(update={"state": "completed"}))
    (item,) = found(store)
    assert (item.kind, item.name, item.size) == ("calls on their way", alive.flow_run_id, 10)
    item.remove()
    assert not sent.parent.exists() and found(store) == []


def test_a_run_that_somebody_goes_on_with_meanwhile_is_not_closed(store: Store) -> None:
    dead = ours(pid_started=-1.0)
    write_run(store, dead)
    (item,) = found(store)
    again = dead.model_copy(update={"attempt": 2, "pid": os.getpid()})
    write_run(store, again)
    item.remove()
    assert get_run(store, dead.flow_run_id) == again


def test_old_run_files_are_removed_with_what_lies_beside_them(store: Store) -> None:
    old = ours(state="completed", beat=minutes_ago(THIRTY_ONE_DAYS))
    young = ours(state="completed", beat=minutes_ago(60))
    for run in (old, young):
        write_run(store, run)
        store.paths.run(run.flow_run_id).with_suffix(".lock").write_text("process 1")
    items = found(store)
    assert [item.kind for item in items] == ["old run file"]
    assert remove(items) == []
    assert runs(store) == [young]
    assert len(list(store.paths.run("x").parent.iterdir())) == 2


def test_half_written_records_and_stale_checkpoints(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as writer:
        writer.wait()
    folder = store.root / "targets" / "ab"
    folder.mkdir(parents=True)
    host = this_host().split(".")[0]
    half = folder / f".tgt_ab.json.{host}.{writer.pid}.01234567.tmp"
    mine = folder / f".tgt_ac.json.{host}.{os.getpid()}.01234567.tmp"
    stale = store.paths.checkpoint("trl_0123456789abcdef")
    stale.parent.mkdir(parents=True)
    fresh = stale.with_name("trl_01ffffffffffffff.safetensors")
    for path in (half, mine, stale, fresh):
        path.write_bytes(b"x" * 2048)
    then = time.time() - THIRTY_ONE_DAYS * 60
    os.utime(stale, (then, then))

    items = found(store)
    assert [(item.kind, item.name) for item in items] == [
        ("half-written record", half.name),
        ("stale checkpoint", stale.name),
    ]
    table = leftovers_table(items)
    assert len(table) == 3 and "2 KiB" in table[1] and "31 d" in table[2]
    assert remove(items) == []
    assert mine.exists() and fresh.exists() and not half.exists() and not stale.exists()


def test_what_cannot_be_removed_is_said(store: Store) -> None:
    def refuse() -> None:
        raise PermissionError("not yours")

    failures = remove([Leftover("half-written record", "x.tmp", "its writer is gone", 1.0, 1, refuse)])
    assert failures == ["half-written record x.tmp: PermissionError: not yours"]


STARTS_A_SERVER = """
import sys, time
from prefect.server.api.server import SubprocessASGIServer
server = SubprocessASGIServer()
server.server_process = server._run_uvicorn_command()
print(server.server_process.pid, flush=True)
time.sleep(300)
"""
"""What Prefect does in a script where no API is configured, without waiting until it answers."""


@pytest.fixture
def script(
    tmp_path: Path, new_home: Callable[[Path], Path]
) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A script, and the temporary server that Prefect has started for it."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_A_SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=isolated(new_home(tmp_path / "prefect home")),
    ) as process:
        assert process.stdout is not None
        server = psutil.Process(int(process.stdout.readline()))
        yield process, server
        process.kill()
        if server.is_running():
            server.kill()


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it has not happened in {seconds} s"
        time.sleep(0.1)


@pytest.mark.server
@pytest.mark.slow
def test_a_temporary_server_is_dead_when_its_script_is(
    script: tuple[subprocess.Popen[bytes], psutil.Process],
) -> None:
    process, server = script
    named = f"process {server.pid}"
    # At first it is the copy of the script that becomes the server.
    wait_until(lambda: "uvicorn" in server.cmdline())
    assert named not in [item.name for item in dead_servers()], "its script lives"

    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: named in [item.name for item in dead_servers()])
    (item,) = [item for item in dead_servers() if item.name == named]
    assert item.kind == "temporary server" and (item.size or 0) > 0 and not item.foreign
    item.remove()
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
