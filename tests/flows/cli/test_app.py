"""How commands end, whatever ends them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import typer
from prefect.exceptions import PrefectHTTPStatusError

from sweepflow.flows.cli.app import guarded, set_up_logging
from sweepflow.tasks.output import is_progress_shown
from tests.slurm.processes import PATIENCE

HUNG_UP = """
import os, signal, sys, time
from sweepflow.flows.cli.app import guarded, set_up_logging
from sweepflow.tasks.output import is_progress_shown
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

def run():
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(0 if sys.argv[1] == "nohup" else 30)

guarded(run)
"""

AT_WORK = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import sweepflow.flows.cli
from sweepflow.stop import stoppable
begun = threading.Event()

def run():
    with stoppable():
        begun.set()
        time.sleep(600)  # on the devices: it asks nobody

ThreadPoolExecutor(1).submit(run)
begun.wait()
sweepflow.flows.cli.app = lambda: sys.exit(1)
sweepflow.flows.cli.main()
"""

UNREAD = """
import os, sys, typer
from sweepflow.flows.cli import app, llc, runs, store, sweep

def printed(run, **how):
    print("a table", flush=True)
    raise typer.Exit(3)

for module in (llc, runs, store, sweep):
    module.guarded = printed
for command in sys.argv[1:]:
    reads, writes = os.pipe()
    os.close(reads)
    os.dup2(writes, 1)
    try:
        app([command])
    except SystemExit as end:
        print(command, end.code, file=sys.stderr)
"""


def test_a_sweep_ends_with_its_own_code_whoever_reads_what_it_prints_last() -> None:
    sweeps, lists = ("sweep", "llc", "train", "verify", "resume"), ("runs", "trials")
    command = [sys.executable, "-c", UNREAD, *sweeps, *lists]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    said = [f"{name} 3" for name in sweeps] + [f"{name} 1" for name in lists]
    assert done.stderr.splitlines() == said, "a list that nobody reads ends as in every shell"


def test_a_command_does_not_wait_for_a_batch_that_cannot_be_stopped() -> None:
    done = subprocess.run([sys.executable, "-c", AT_WORK], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and not done.stderr


@pytest.mark.parametrize(("how", "code"), [("plain", 128 + signal.SIGTERM), ("nohup", 0)])
def test_a_terminal_that_is_closed_ends_a_command_as_term_does(how: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUNG_UP, how], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == code, done.stderr
    assert ("what is done is kept" in done.stderr) is (how == "plain")


@pytest.mark.parametrize("error", [httpx.ReadError("gone"), httpx.ConnectTimeout("late"), None])
def test_a_server_that_fails_on_the_way_is_said_on_one_screen(
    error: Exception | None, capsys: pytest.CaptureFixture[str]
) -> None:
    response = httpx.Response(500, request=httpx.Request("POST", "http://host/api/flows/"))

    def run() -> None:
        raise error or PrefectHTTPStatusError("Server error", request=response.request, response=response)

    with pytest.raises(typer.Exit) as ended:
        guarded(run)
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert "Prefect's server failed on the way" in said and "start the same command again" in said
    assert len(said.splitlines()) == 3


def test_an_error_of_ours_is_not_taken_for_the_servers() -> None:
    with pytest.raises(ValueError, match="ours"):
        guarded(lambda: (_ for _ in ()).throw(ValueError("ours")))


class Ended(BaseException):
    """In place of the end of this process."""


def test_a_second_ctrl_c_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def end(code: int) -> NoReturn:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    before = signal.getsignal(signal.SIGINT)

    def twice() -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # while tables are written, say

    with pytest.raises(Ended, match="130"):
        guarded(twice)
    assert "ended at once" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(Ended, match="130"):
        guarded(lambda: signal.raise_signal(signal.SIGINT))
    assert "stopped; what is done is kept" in capfd.readouterr().err


@pytest.fixture
def logging_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """Set up logging at a level, in an environment: what Prefect is told of it."""
    httpx_level = logging.getLogger("httpx").level

    def told(level: str | None, **environment: str) -> dict[str, str]:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(f"PREFECT_{name}", value)
        set_up_logging(level)
        return {
            name.removeprefix("PREFECT_LOGGING_"): value
            for name, value in os.environ.items()
            if name.startswith("PREFECT_LOGGING_")
        }

    yield told
    logging.getLogger("httpx").setLevel(httpx_level)


def test_prefects_log_is_quiet_unless_somebody_asks_for_it(logging_of: Callable[..., dict[str, str]]) -> None:
    assert logging_of(None) == {"HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert logging_of(None, LOGGING_LEVEL="INFO") == {"LEVEL": "INFO"}


@pytest.mark.parametrize("level", ["debug", "Info", "WARNING", "error", "critical"])
def test_a_level_wins_over_the_environment_and_leaves_the_log_of_the_pages_whole(
    level: str, logging_of: Callable[..., dict[str, str]]
) -> None:
    given = {"LOGGING_LEVEL": "ERROR", "LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    told = logging_of(level, **given)
    assert told["HANDLERS_CONSOLE_LEVEL"] == told["ROOT_LEVEL"] == level.upper()
    assert told.get("LEVEL", "INFO") == ("DEBUG" if level == "debug" else "INFO")


@pytest.mark.parametrize("command", ["llc", "sweep", "verify", "resume"])
def test_an_unknown_level_is_bad_input(
    command: str, tmp_path: Path, typed: Callable[..., tuple[int, str]]
) -> None:
    code, text = typed(tmp_path, command, "--log-level", "warn")
    assert code == 2
    assert text.splitlines() == [
        "error: there is no such log level",
        "  got:     --log-level warn",
        "  allowed: debug, info, warning, error, critical",
        "  do:      did you mean 'warning'?",
    ]


def test_what_is_printed_beside_json_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(lambda: print("a table"))
    guarded(lambda: print("a user's own module"), as_json=True)
    assert capsys.readouterr() == ("a table\n", "a user's own module\n")


def test_progress_is_shown_unless_the_command_is_quiet() -> None:
    assert guarded(is_progress_shown) and guarded(is_progress_shown, as_json=True)
    assert not guarded(is_progress_shown, quiet=True)
    assert is_progress_shown()
