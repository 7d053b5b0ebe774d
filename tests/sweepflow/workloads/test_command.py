"""External programs as trials: real processes, what is read of them, and that none of them is left behind."""

from __future__ import annotations

import ctypes
import io
import math
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import sweepflow.workloads.command_process as command_process
from sweepflow import stop
from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import fingerprint
from sweepflow.stop import InterruptedBatchError
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.workloads import load_workload
from sweepflow.workloads.command import NAME, VERSION, CommandConfig, check, label, pin, run_trials
from sweepflow.workloads.command_guard import MARK
from sweepflow.workloads.command_line import command_line
from sweepflow.workloads.command_output import read_output
from sweepflow.workloads.command_process import CommandProcess
from sweepflow.workloads.goal import goal_of

ROOT = Path(__file__).parents[3]
LATE = 60.0
"""Seconds after which a program that waits for another is given up, so that a failure does not hang."""

WAIT_FOR = """
    import os, pathlib, sys, time
    here = pathlib.Path(__file__).parent
    given = dict(a.split("=", 1) for a in sys.argv[1:])
    def wait_for(*names):
        while not all((here / name).exists() for name in names):
            time.sleep(0.005)
"""
"""What programs start with that wait for each other, by files."""

STAYS = """
    import os, subprocess, sys, signal, time
    # A child in the group, and one in a session of its own; neither ends when asked.
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True);"
        "time.sleep(600)"
    )
    def leave_two():
        children = [
            subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE, start_new_session=own)
            for own in (False, True)
        ]
        for child in children:
            child.stdout.readline()
        return [os.getpid(), *(child.pid for child in children)]
    def tell(pids):
        with open(sys.argv[1].split("=", 1)[1], "w") as fifo:
            fifo.write(" ".join(map(str, pids)))
"""
"""What programs start with that leave processes behind, and tell their numbers through a FIFO."""

DRIVER = """
import sys
from pathlib import Path
import sweepflow.workloads.command_process as command_process
from sweepflow.engine.workload import Trial
from sweepflow.storage.store import Store
from sweepflow.workloads.command import CommandConfig, run_trials
command, root, fifo, grace = sys.argv[1:]
command_process.GRACE_SECONDS = float(grace)
config = CommandConfig(command=command, metrics=("loss",), args={"fifo": fifo})
run_trials([Trial("trl_0123456789abcdef", config, 0)], Store(Path(root)))
"""
"""A sweep in a process of its own."""

Write = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Writes a Python program to a path with a space and a quote in it; gives the command that runs it."""

    def write(source: str, name: str = "a program.py") -> str:
        path = tmp_path / "a researcher's scripts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(textwrap.dedent(part) for part in source.split("####")))
        return shlex.join([sys.executable, str(path)])

    return write


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with programs that do not end when asked."""
    monkeypatch.setattr(command_process, "GRACE_SECONDS", 0.3)


def trial(command: str, metrics: tuple[str, ...] = ("loss",), **settings: Any) -> Trial[CommandConfig]:
    config = CommandConfig(command=command, metrics=metrics, **settings)
    return Trial(fingerprint("trl", NAME, VERSION, config), config, config.seed or 0)


def run_one(store: Store, command: str, **settings: Any) -> Record:
    (record,) = run_trials([trial(command, **settings)], store)
    kept = store.get(record.id)
    assert kept is not None and (kept.status, kept.reasons, kept.figures) == (
        record.status,
        record.reasons,
        record.figures,
    )
    return record


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Told:
    """Reads process numbers from a FIFO: blocks until a program has written them, and so is up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def read(self) -> list[int]:
        return [int(pid) for pid in self.path.read_text().split()]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "told")


# What a program gets and what is taken of it


def test_a_program_gets_its_arguments_and_its_metrics_are_kept(store: Store, program: Write) -> None:
    command = program(
        """
        import sys
        print("arguments:", sys.argv[1:])
        for epoch, loss in enumerate([0.9, 0.5, 0.25]):
            print(f"epoch {epoch} METRIC loss={loss}, accuracy={1 - loss} and so on")
        print("METRIC test/f1=7e-1")
        """
    )
    seen: list[Record] = []
    args = {"optimizer": {"lr": 0.1, "name": "adam"}, "widths": [8, 4], "nesterov": True, "clip": None}
    wanted = trial(command, args=args, seed=3)
    (record,) = run_trials([wanted], store, on_record=seen.append)
    assert seen == [record]
    assert (record.id, record.workload, record.version) == (wanted.id, "command", 1)
    assert (record.status, record.reasons) == ("ok", ())
    assert record.figures["seconds"] > 0
    assert {**record.figures, "seconds": 0} == {
        "loss": 0.25,
        "best_loss": 0.25,
        "accuracy": 0.75,
        "test/f1": 0.7,
        "exit_code": 0,
        "seconds": 0,
    }
    assert record.seconds == {"compile": 0.0, "run": record.figures["seconds"]}
    arrays = store.arrays(record.id)
    assert set(arrays) == {"curve.loss", "curve.accuracy", "curve.test/f1"}
    np.testing.assert_array_equal(arrays["curve.loss"], [0.9, 0.5, 0.25])
    arguments = (
        "['clip=null', 'nesterov=true', 'optimizer.lr=0.1', 'optimizer.name=adam', 'widths=[8,4]', 'seed=3']"
    )
    log = store.paths.log(record.id)
    assert log.read_text().splitlines()[0] == f"arguments: {arguments}"
    assert log.parent == store.paths.record(record.id).parent
    assert CommandConfig.model_validate(record.config) == wanted.config


def test_the_provenance_of_a_command_starts_no_jax(store: Store, program: Write) -> None:
    provenance = run_one(store, program("print('METRIC loss=1')")).provenance
    assert "device" not in provenance
    assert {"host", "python", "versions", "written"} <= set(provenance)
    code = (
        "import sys; from sweepflow.provenance import provenance; known = provenance()\n"
        "assert 'device' not in known and 'jax' not in sys.modules, known\n"
        "assert {'scipy', 'arviz-stats', 'jax'} <= set(known['versions']), known\n"
        "import jax; assert 'device' in provenance()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"args": {"b": 1, "a.c": "x y"}}, ["a.c=x y", "b=1"]),
        ({"args": {"lr": 1e-05, "n": np.int64(3), "f": np.float64(0.5)}}, ["f=0.5", "lr=1e-05", "n=3"]),
        ({"args": {"widths": [[1, 2], ["a", False]], "none": []}}, ["none=[]", "widths=[[1,2],[a,false]]"]),
        ({"args": {"lr": 2}, "style": "flag", "seed": 0}, ["--lr=2", "--seed=0"]),
        ({"seed": 5, "seed_argument": "trainer.seed"}, ["trainer.seed=5"]),
        ({"args": {"empty": {}}}, []),
    ],
)
def test_command_lines(settings: dict[str, Any], words: list[str]) -> None:
    config = CommandConfig(command="python 'my train.py' --fast", metrics=("loss",), **settings)
    assert command_line(config) == ["python", "my train.py", "--fast", *words]


@pytest.mark.parametrize(
    ("log", "metrics"),
    [
        (b"METRIC a=1 b=2\nMETRIC a=3", {"a": [1, 3], "b": [2]}),
        (b"[info] METRIC a=1, b=2; c=3 (best)", {"a": [1], "b": [2], "c": [3]}),
        (b"METRIC a=1 METRIC b = -2.5e-3.", {"a": [1], "b": [-0.0025]}),
        (b" 10%|#   |\r 50%|##  |METRIC a=1\r100%|####|\r\nMETRIC a=2\r", {"a": [1, 2]}),
        (b"\x1b[32mMETRIC\x1b[0m a=\x1b[1m1\x1b[0m", {"a": [1]}),
        (b"METRIC: a=1 \xff\xfe b=2", {"a": [1], "b": [2]}),
        (b"a=1\nMETRICS b=2\nmy_METRIC c=3\nmetric d=4", {}),
        (b"METRIC loss/val@1=0.5 top-5=6", {"loss/val@1": [0.5], "top-5": [6]}),
        (b"", {}),
    ],
)
def test_metrics_are_found_in_what_stands_around_them(log: bytes, metrics: dict[str, list[float]]) -> None:
    assert read_output(io.BytesIO(log)).metrics == metrics


@given(st.lists(st.floats(), min_size=1), st.text(st.characters(exclude_characters="=", codec="utf-8")))
def test_every_number_that_is_printed_is_read_again(values: list[float], around: str) -> None:
    log = "\n".join(f"METRIC loss={value!r} {around}" for value in values)
    np.testing.assert_array_equal(read_output(io.BytesIO(log.encode())).metrics["loss"], values)


def test_both_streams_are_logged_in_the_order_they_were_written(store: Store, program: Write) -> None:
    command = program(
        """
        import sys
        for i in range(3):
            print("out", i)
            print("err", i, file=sys.stderr)
        print("METRIC loss=1")
        """
    )
    lines = store.paths.log(run_one(store, command).id).read_text().splitlines()
    assert lines == ["out 0", "err 0", "out 1", "err 1", "out 2", "err 2", "METRIC loss=1"]


def test_where_it_runs_is_no_part_of_a_trial(store: Store, program: Write, tmp_path: Path) -> None:
    command = program(
        "import os; print(os.getcwd(), os.environ['CUDA_VISIBLE_DEVICES']); print('METRIC loss=1')"
    )
    there = tmp_path / "another place"
    there.mkdir()
    record = run_one(store, command, cwd=str(there), devices=("3",), timeout_seconds=LATE, max_concurrent=2)
    assert store.paths.log(record.id).read_text().startswith(f"{there} 3\n")
    assert record.id == trial(command).id


def test_what_it_finds_in_its_environment_is_part_of_a_trial(store: Store, program: Write) -> None:
    command = program("import os; print('METRIC loss=' + os.environ['DATASET'])")
    records = [run_one(store, command, environment={"DATASET": number}) for number in ("1", "2")]
    assert [record.figures["loss"] for record in records] == [1, 2]
    assert len({trial(command).id, *(record.id for record in records)}) == 3
    ordered = [{"A": "1", "B": "2"}, {"B": "2", "A": "1"}]
    configs = [trial(command, environment=one).config for one in ordered]
    assert configs[0] == configs[1] and hash(configs[0]) == hash(configs[1])
    assert len({trial(command, environment=one).id for one in ordered}) == 1


def test_a_second_run_replaces_record_and_log_and_removing_takes_both(store: Store, program: Write) -> None:
    command = program("import os; print(os.environ['CUDA_VISIBLE_DEVICES']); print('METRIC loss=1')")
    for which in ("first", "second"):
        record = run_one(store, command, devices=(which,))
    log = store.paths.log(record.id)
    assert log.read_text() == "second\nMETRIC loss=1\n"
    store.remove(record.id)
    assert not log.exists() and store.get(record.id) is None


# How it can end


def test_a_metric_that_ends_as_nan_has_diverged(store: Store, program: Write) -> None:
    command = program(
        """
        import sys
        print("METRIC loss=0.5 other=nan")
        print("METRIC loss=inf")
        print("METRIC loss=nan")
        sys.exit(int(sys.argv[1].split("=")[1]))
        """
    )
    record = run_one(store, command, args={"code": 0})
    assert record.status == "diverged"
    assert record.reasons == ("diverged: loss is nan, not finite since its value 2 of 3",)
    assert record.figures["loss"] is None and record.figures["other"] is None
    np.testing.assert_array_equal(store.arrays(record.id)["curve.loss"], [0.5, math.inf, math.nan])
    failing = run_one(store, command, args={"code": 1})
    assert failing.status == "diverged" and failing.reasons[1].startswith("exit code 1; its log ends: ")
    recovered = program("print('METRIC loss=nan'); print('METRIC loss=2 other=nan')", "recovers.py")
    assert run_one(store, recovered).status == "ok"


def test_a_program_that_fails_says_why(store: Store, program: Write) -> None:
    command = program("print('METRIC loss=0.5')\nraise ValueError('no such optimizer: admm')")
    record = run_one(store, command)
    assert record.status == "failed"
    (reason,) = record.reasons
    assert reason.startswith("exit code 1; its log ends: ")
    assert reason.endswith("ValueError: no such optimizer: admm") and "\n" not in reason
    assert (record.figures["exit_code"], record.figures["loss"]) == (1, 0.5)
    silent = run_one(store, program("raise SystemExit(3)", "silent.py"))
    assert silent.reasons == ("exit code 3; it printed nothing",)


def test_a_program_that_a_signal_ends_names_it(store: Store, program: Write) -> None:
    command = program("import os, sys; os.kill(os.getpid(), int(sys.argv[1].split('=')[1]))")
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "SIGKILL (out of memory?)")):
        record = run_one(store, command, args={"signal": int(number)})
        assert (record.status, record.figures["exit_code"]) == ("failed", -number)
        assert record.reasons == (f"ended by {name}; it printed nothing",)


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("METRIC val_los=1 epoch=3", "printed were val_los, epoch; did you mean val_los?"),
        ("METRIC x=1", "metric val_loss was never printed; printed were x"),
        ("val_loss=0.5", "nor any other: a line 'METRIC val_loss=0.5' is looked for"),
        ("METRIC val_loss=tensor(0.5)", "metric val_loss is 'tensor(0.5)', which is no number"),
        ("METRIC val_loss=1,234.0", "metric val_loss is '1,234.0', which is no number"),
        ("METRIC val_loss=2\\nMETRIC val_loss=1,2", "metric val_loss is '1,2', which is no number"),
        ("METRIC val_loss: 0.5", "'METRIC val_loss=0.5' is looked for, not 'METRIC val_loss: 0.5'"),
    ],
)
def test_a_metric_that_is_never_printed(printed: str, reason: str, store: Store, program: Write) -> None:
    record = run_one(store, program(f"print('{printed}')"), metrics=("val_loss",))
    assert record.status == "failed" and len(record.reasons) == 1
    assert record.reasons[0].endswith(reason)


def test_what_is_printed_and_in_no_figure_is_told(store: Store, program: Write) -> None:
    printed = "METRIC loss=None\nMETRIC loss=0.5 other=1\nMETRIC other=1,000 seconds=9\n"
    record = run_one(store, program(f"print({printed!r})"))
    assert record.status == "flagged"
    assert record.reasons == (
        "1 of 2 values of loss are left out, since they are no numbers, such as 'None'",
        "1 of 2 values of other are left out, since they are no numbers, such as '1,000'",
        "METRIC seconds is left out: seconds is a figure that every program has; print another name",
    )
    assert (record.figures["loss"], record.figures["other"]) == (0.5, None) and record.figures["seconds"] < 9


def test_the_best_of_all_values_is_a_figure_too(store: Store, program: Write) -> None:
    printed = "\n".join(f"METRIC loss={n} acc={n} zeta={n}" for n in (3, 1, math.nan, 2))
    record = run_one(store, program(f"print({printed!r})"), metrics=("loss", "acc", "zeta"))
    best = {"best_loss": 1, "best_acc": 3, "lowest_zeta": 1, "highest_zeta": 3}
    assert {key: record.figures.get(key) for key in best} == best and record.figures["loss"] == 2
    config = trial("echo", ("loss", "acc", "zeta")).config
    assert set(load_workload("command").figures(config)) == set(record.figures), "what is promised before"
    own = run_one(store, program("print('METRIC loss=3 best_loss=7'); print('METRIC loss=nan')", "own.py"))
    assert own.figures["best_loss"] == 7 and own.status == "diverged"
    assert goal_of("best_loss") == "minimize" and goal_of("best_acc") == "maximize"


def test_half_a_line_of_a_program_that_was_killed_is_no_value(store: Store, program: Write) -> None:
    source = """
        import os, sys
        print("METRIC loss=0.5")
        sys.stdout.write("METRIC loss=12")
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
        """
    record = run_one(store, program(source))
    assert record.status == "failed" and record.figures["loss"] == 0.5


def test_reading_standard_input_ends_at_once(store: Store, program: Write) -> None:
    assert run_one(store, program("import sys; print(f'METRIC loss={len(sys.stdin.read())}')")).status == "ok"


def test_a_file_that_the_system_cannot_run_fails_and_the_others_go_on(
    store: Store, program: Write, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF, but no more")
    broken.chmod(0o755)
    first, second = run_trials(
        [trial(shlex.quote(str(broken))), trial(program("print('METRIC loss=1')"))], store
    )
    assert first.status == "failed" and "could not be started: " in first.reasons[0]
    assert second.status == "ok"
    assert {record.status for record in store.records("trl")} == {"failed", "ok"}


# No process is left behind


@pytest.mark.usefixtures("hasty")
def test_a_program_that_is_late_is_ended_with_all_that_it_started(
    store: Store, program: Write, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    command = program(
        f"""{STAYS}####
        pids = leave_two()
        print("METRIC loss=0.5")
        open(sys.argv[1].split("=", 1)[1], "w").write(" ".join(map(str, pids)))
        time.sleep(600)
        """
    )
    record = run_one(store, command, args={"file": str(pids)}, timeout_seconds=4)
    assert record.status == "failed"
    assert record.reasons == ("timed out after 4 s; its log ends: METRIC loss=0.5",)
    assert record.figures["loss"] == 0.5 and 4 <= record.figures["seconds"] < LATE
    numbers = [int(pid) for pid in pids.read_text().split()]
    assert len(numbers) == 3 and not any(map(is_running, numbers))


@pytest.mark.usefixtures("hasty")
def test_what_a_program_leaves_behind_is_ended(store: Store, program: Write, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = program(
        f"""{STAYS}####
        pids = leave_two()
        open(sys.argv[1].split("=", 1)[1], "w").write(" ".join(map(str, pids)))
        print("METRIC loss=0.5", flush=True)
        os._exit(0)
        """
    )
    assert run_one(store, command, args={"file": str(pids)}, outputs=(str(pids),)).status == "ok"
    numbers = [int(pid) for pid in pids.read_text().split()]
    assert len(numbers) == 3 and not any(map(is_running, numbers))


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGTERM)", "sys.exit(143)", "sys.exit(1)", "sys.exit(0)"]
)
def test_what_ends_together_with_this_process_has_no_result(
    end: str, store: Store, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a SLURM job is cancelled: all of its processes are asked to end, and one hears of it first."""
    settled = CommandProcess.is_settled

    def heard_later(process: CommandProcess) -> bool:
        monkeypatch.setattr(stop, "_ENDING", True)
        return settled(process)

    monkeypatch.setattr(CommandProcess, "is_settled", heard_later)
    interrupted = trial(program(f"import os, signal, sys; print('METRIC loss=1', flush=True); {end}"))
    with pytest.raises(InterruptedBatchError):
        run_trials([interrupted], store)
    assert store.get(interrupted.id) is None
    monkeypatch.undo()
    (record,) = run_trials([interrupted], store)
    assert record.status == ("ok" if end == "sys.exit(0)" else "failed"), "what it does of its own accord"


@pytest.mark.usefixtures("hasty")
def test_an_interruption_between_records_ends_what_runs(store: Store, program: Write, told: Told) -> None:
    stays = program(f"{STAYS}####\ntell(leave_two())\ntime.sleep(600)", "stays.py")
    ends = program("print('METRIC loss=1')", "ends.py")
    numbers: list[int] = []

    def interrupt(record: Record) -> None:
        numbers.extend(told.read())
        raise KeyboardInterrupt

    trials = [
        trial(stays, args={"fifo": str(told.path)}, max_concurrent=2),
        trial(ends),
        trial(ends, args={"never": 1}),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_trials(trials, store, on_record=interrupt)
    assert len(numbers) == 3 and not any(map(is_running, numbers))
    assert [store.get(t.id) is not None for t in trials] == [False, True, False]


@pytest.mark.usefixtures("hasty")
def test_an_exception_raised_by_another_thread_ends_what_runs(
    store: Store, program: Write, told: Told
) -> None:
    class Cancelled(BaseException):
        pass

    raised: list[BaseException] = []
    command = program(f"{STAYS}####\ntell(leave_two())\ntime.sleep(600)")

    def work() -> None:
        try:
            run_trials([trial(command, args={"fifo": str(told.path)})], store)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    numbers = told.read()
    assert all(map(is_running, numbers))
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled))
    thread.join(LATE)
    assert not thread.is_alive() and isinstance(raised[0], Cancelled)
    assert len(numbers) == 3 and not any(map(is_running, numbers))


@pytest.mark.parametrize("presses", [1, 2])
def test_interrupting_the_whole_program_leaves_nothing(
    presses: int, store: Store, program: Write, told: Told
) -> None:
    """Ctrl-C in a shell; the second press does not wait for programs that do not end when asked."""
    command = program(
        f"{STAYS}####\nsignal.signal(signal.SIGTERM, lambda *_: tell([7]))\ntell(leave_two())\n"
        "while True: time.sleep(600)"
    )
    grace = 0.3 if presses == 1 else 3600
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, command, str(store.root), str(told.path), str(grace)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as process:
        numbers = told.read()
        assert len(numbers) == 3 and all(map(is_running, numbers))
        process.send_signal(signal.SIGINT)
        assert told.read() == [7]  # it was asked to end, so the driver is waiting for it
        if presses == 2:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LATE)
    assert b"KeyboardInterrupt" in errors and process.returncode != 0
    assert not any(map(is_running, numbers))


def test_killing_the_whole_program_leaves_nothing(store: Store, program: Write, told: Told) -> None:
    """No clean-up runs in what is killed, or ends by os._exit."""
    command = program(f"{STAYS}####\ntell(leave_two())\ntime.sleep(600)")
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, command, str(store.root), str(told.path), "3600"], cwd=ROOT
    ) as process:
        left = [psutil.Process(pid) for pid in told.read()]
        process.kill()
    _, alive = psutil.wait_procs(left, timeout=LATE)
    assert len(left) == 3 and alive == []


def test_a_sweep_within_a_sweep_is_found_by_both(
    store: Store, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, "outer")
    record = run_one(store, program(f"import os; print(os.environ[{MARK!r}]); print('METRIC loss=1')"))
    outer, sweep, own = store.paths.log(record.id).read_text().splitlines()[0].split()
    assert outer == "outer" and len({sweep, own, outer}) == 3


# Several at a time


def test_as_many_run_side_by_side_as_are_asked_for(store: Store, program: Write) -> None:
    command = program(
        f"""{WAIT_FOR}####
        (here / f"here {{given['seed']}}").touch()
        wait_for("here 0", "here 1", "here 2")
        print("METRIC loss=" + given["seed"])
        """
    )
    trials = [trial(command, seed=seed, max_concurrent=3, timeout_seconds=LATE) for seed in range(3)]
    records = run_trials(trials, store)
    assert [(r.id, r.status, r.figures["loss"]) for r in records] == [
        (t.id, "ok", t.config.seed) for t in trials
    ]


def test_no_more_run_side_by_side_than_are_asked_for(store: Store, program: Write) -> None:
    command = program(
        f"""{WAIT_FOR}####
        alone = here / "alone"
        os.close(os.open(alone, os.O_CREAT | os.O_EXCL))
        print("METRIC loss=1")
        alone.unlink()
        """
    )
    order: list[str] = []
    trials = [trial(command, seed=seed) for seed in range(4)]
    records = run_trials(trials, store, on_record=lambda record: order.append(record.id))
    assert [record.reasons for record in records] == [()] * 4
    assert order == [t.id for t in trials]


def test_a_device_is_taken_again_only_when_its_process_has_ended(store: Store, program: Write) -> None:
    command = program(
        f"""{WAIT_FOR}####
        device, seed = os.environ["CUDA_VISIBLE_DEVICES"], given["seed"]
        taken = here / f"device {{device}}"
        os.close(os.open(taken, os.O_CREAT | os.O_EXCL))
        (here / f"here {{seed}}").touch()
        wait_for(*(["here 3"] if seed == "0" else ["here 0"]))  # the first runs beside all others
        print("METRIC device=" + device)
        taken.unlink()
        """
    )
    settings: dict[str, Any] = {"max_concurrent": 2, "devices": ("3", "7"), "timeout_seconds": LATE}
    trials = [trial(command, ("device",), seed=seed, **settings) for seed in range(4)]
    records = run_trials(trials, store)
    assert [record.reasons for record in records] == [()] * 4
    assert [record.figures["device"] for record in records] == [3, 7, 7, 7]


def test_one_at_a_time_goes_round_all_devices(store: Store, program: Write) -> None:
    command = program("import os; print('METRIC device=' + os.environ['CUDA_VISIBLE_DEVICES'])")
    trials = [trial(command, ("device",), seed=seed, devices=("0", "1", "2")) for seed in range(5)]
    assert [record.figures["device"] for record in run_trials(trials, store)] == [0, 1, 2, 0, 1]


def test_more_processes_than_devices_share_them_evenly(store: Store, program: Write) -> None:
    command = program(
        f"""{WAIT_FOR}####
        (here / f"here {{given['seed']}}").touch()
        wait_for("here 0", "here 1", "here 2", "here 3")
        print("METRIC device=" + os.environ["CUDA_VISIBLE_DEVICES"])
        """
    )
    settings: dict[str, Any] = {"max_concurrent": 4, "devices": ("0", "1"), "timeout_seconds": LATE}
    trials = [trial(command, ("device",), seed=seed, **settings) for seed in range(4)]
    devices = Counter(record.figures["device"] for record in run_trials(trials, store))
    assert devices == {0: 2, 1: 2}


# What is refused before any work


@pytest.mark.parametrize(
    ("command", "settings", "complaint"),
    [
        ("no-such-program train.py", {}, "no program 'no-such-program'\n.*\n.*PATH"),
        ("./nowhere.sh", {}, r"no program './nowhere.sh'\n.*looked for at /.*nowhere.sh"),
        ("plain.sh --fast", {}, r"no program 'plain.sh'\n.*\n.*\n.*write './plain.sh', or 'python plain.sh'"),
        ("./plain.sh", {}, r"'./plain.sh' is not executable\n.*\n.*chmod \+x ./plain.sh"),
        ("python x.py", {"cwd": "no/such place"}, r"directory .* is not there\n.*cwd=no/such place"),
        ("tool", {"environment": {"PATH": "/nowhere"}}, "no program 'tool'\n.*\n.*PATH: /nowhere"),
    ],
)
def test_what_cannot_be_started_is_refused(
    command: str, settings: dict[str, Any], complaint: str, store: Store, program: Write, tmp_path: Path
) -> None:
    (tmp_path / "plain.sh").write_text("#!/bin/sh\n")
    bad = trial(command, **{"cwd": str(tmp_path), **settings})
    good = trial(program("print('METRIC loss=1')"))
    check(good.config)
    with pytest.raises(ConfigError, match=complaint):
        check(bad.config)
    with pytest.raises(ConfigError, match=complaint):
        run_trials([good, bad], store)
    assert not store.root.exists()


def test_programs_are_found_where_they_will_run(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "bin with space" / "tool"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho METRIC loss=1\n")
    script.chmod(0o755)
    assert run_one(store, "./tool", cwd=str(script.parent)).status == "ok"
    assert run_one(store, "tool", environment={"PATH": str(script.parent)}).status == "ok"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"command": "python 'train.py"}, "command cannot be split into words: No closing quotation"),
        ({"command": "  "}, "command names no program"),
        ({"metrics": ()}, "at least 1 item"),
        ({"metrics": ("val loss",)}, "metrics cannot hold 'val loss'"),
        ({"metrics": ("seconds",)}, "metrics cannot hold 'seconds'"),
        ({"args": {"a": 1, "a.b": 2}}, "a value and keys below it at the same key: a.b"),
        ({"args": {"a": {"b": 1}, "a.b": 2}}, "same key twice: a.b"),
        ({"args": {"a.b": 2, "a": 1}}, "same key twice: a"),
        ({"args": {"a": {1: 2}}}, "cannot have the key a.1"),
        ({"args": {"a=b": 1}}, "cannot have the key a=b"),
        ({"args": {"a..b": 1}}, "cannot have the key a..b"),
        ({"args": {"lr": math.nan}}, "args.lr cannot be nan"),
        ({"args": {"widths": [8, object]}}, "args.widths cannot be <class 'object'>"),
        ({"args": {"text": "a\0b"}}, "args.text cannot hold the character NUL"),
        ({"args": {"seed": 1}, "seed": 2}, "seed and args both give 'seed'"),
        ({"environment": {"A=B": "1"}}, "environment cannot hold 'A=B'"),
    ],
)
def test_configurations_that_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as told:
        CommandConfig(**{"command": "python train.py", "metrics": ("loss",), **settings})
    assert complaint in str(told.value)


# What a trial is


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
leaves |= st.text(st.characters(exclude_characters="\0", codec="utf-8"))
names = st.text("abc", min_size=1, max_size=3)
trees = st.dictionaries(
    names, st.recursive(leaves | st.lists(leaves), lambda t: st.dictionaries(names, t)), max_size=4
)


def dotted(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


@given(trees)
def test_arguments_are_the_same_nested_or_dotted(tree: dict[str, Any]) -> None:
    nested = CommandConfig(command="x", metrics=("m",), args=tree)
    backwards = dict(reversed(dotted(tree).items()))
    flat = CommandConfig(command="x", metrics=("m",), args=backwards)
    assert nested == flat and hash(nested) == hash(flat)
    assert command_line(nested) == command_line(flat)
    assert trial("x", args=tree).id == trial("x", args=backwards).id
    assert CommandConfig.model_validate(nested.model_dump(mode="json")) == nested


def test_a_changed_script_is_another_trial_and_a_moved_one_is_not(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my train.py").write_text("print('METRIC loss=1')")
        (tmp_path / folder / "small.yaml").write_text("lr: 1")

    def identity(folder: str) -> str:
        command = f"python 'my train.py' --config=small.yaml {'long ' * 300}"
        pinned = pin(CommandConfig(command=command, metrics=("loss",), cwd=str(tmp_path / folder)))
        return fingerprint("trl", NAME, VERSION, pinned)

    ids = [identity("here"), identity("there")]
    (tmp_path / "here" / "my train.py").write_text("print('METRIC loss=2')")
    ids.append(identity("here"))
    (tmp_path / "here" / "small.yaml").write_text("lr: 2")
    ids.append(identity("here"))
    assert ids[0] == ids[1] and len(set(ids)) == 3


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("python3 -m train", "train.py"),
        ("python3 -u -mtrain", "train.py"),
        ("torchrun --nproc-per-node 1 -m my.train.small --fast", "my/train/small.py"),
        ("python3 -m my.train", "my/train/__main__.py"),
    ],
)
def test_a_module_below_its_directory_is_a_file_that_the_command_names(
    command: str, file: str, tmp_path: Path
) -> None:
    def identity(folder: str) -> str:
        pinned = pin(CommandConfig(command=command, metrics=("loss",), cwd=str(tmp_path / folder)))
        return fingerprint("trl", NAME, VERSION, pinned)

    for folder, text in (("project a", "1"), ("project b", "2"), ("a moved", "1"), ("none", "")):
        path = tmp_path / folder / (file if text else "something else.py")
        path.parent.mkdir(parents=True)
        path.write_text(f"print('METRIC loss={text}')")
    ids = [identity(folder) for folder in ("project a", "project b", "a moved", "none")]
    assert ids[0] == ids[2] and len(set(ids)) == 3
    (tmp_path / "project a" / file).write_text("print('METRIC loss=3')")
    assert identity("project a") not in ids


@pytest.mark.parametrize("command", ["python3 -m", "python3 -m ../train", "python3 train", "run -mt"])
def test_words_that_name_no_module_name_no_file(command: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for name in ("train.py", "here/train.py"):
        (tmp_path / name).write_text("")
    asked = [CommandConfig(command=c, metrics=("loss",), cwd=str(tmp_path / "here")) for c in (command, "x")]
    assert pin(asked[0]).sha256 == pin(asked[1]).sha256


def test_a_script_that_changed_since_it_was_pinned_is_not_run(
    store: Store, program: Write, tmp_path: Path
) -> None:
    pinned = pin(trial(program("print('METRIC loss=1')")).config)
    asked = Trial(fingerprint("trl", NAME, VERSION, pinned), pinned, 0)
    assert run_trials([asked], store)[0].status == "ok"
    program("print('METRIC loss=2')")
    with pytest.raises(ConfigError, match=f"has changed\n.*\n.*{pinned.sha256}"):
        run_trials([asked], store)


def test_a_sweep_finds_it_by_its_name_and_pins_what_it_names(program: Write) -> None:
    workload = load_workload("command")
    config = CommandConfig(command=program("print('METRIC loss=1')"), metrics=("loss", "accuracy"))
    prepared, mended = workload.prepare(config)
    assert prepared == pin(config) != config and mended == ()
    assert workload.metric(config) == "loss"
    assert workload.trial(prepared).id == fingerprint("trl", NAME, VERSION, prepared)
    assert load_workload("sweepflow.workloads.command") is workload


def test_labels_are_short_and_without_directories() -> None:
    def of(command: str) -> str:
        return label(CommandConfig(command=command, metrics=("loss",)))

    assert of("/usr/bin/python '/my home/train.py' --fast") == "python train.py --fast"
    assert len(of("python " + "x" * 100)) == 40
