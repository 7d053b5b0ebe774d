"""`sweepflow runs --follow`: what changes is shown as it changes, until nothing is at work."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from sweepflow.flows.cli import app
from sweepflow.flows.cli import follow as view
from sweepflow.flows.cli.follow import follow, redraw
from sweepflow.flows.runs.liveness import process_start, this_host, this_machine
from sweepflow.flows.runs.record import RunRecord, write_run
from sweepflow.storage.store import Store
from tests.flows.runs.test_record import minutes_ago, record

Happen = Callable[[dict[str, object]], None]


@pytest.fixture
def alive() -> RunRecord:
    """A run of this process."""
    mine = {"host": this_host(), "machine": this_machine(), "pid": os.getpid()}
    return record(**mine, pid_started=process_start(os.getpid()), total=4, done=1, name="a sweep at work")


@pytest.fixture
def wait(store: Store, alive: RunRecord) -> Callable[[], None]:
    """In place of a second: one trial more, then a sign of life alone, then the end."""
    ended = record(state="completed", name="ended before", attempt_started=minutes_ago(5))
    for run in (ended, alive):
        write_run(store, run)
    changes: Iterator[dict[str, object]] = iter(
        [
            {"done": 2},
            {"done": 2, "beat": minutes_ago(-1)},
            {"done": 4, "state": "completed"},
        ]
    )
    return lambda: write_run(store, alive.model_copy(update=next(changes)))


def test_a_line_is_printed_for_every_run_that_has_changed(
    store: Store, wait: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    follow(store, as_json=False, wait=wait)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith("run ") and "waiting for" in heading
    assert ["ended before" in line for line in lines] == [True, False, False, False]
    assert ["1/4" in lines[1], "2/4" in lines[2], "4/4" in lines[3]] == [True] * 3
    assert "completed" in lines[3]


def test_only_the_newest_are_printed_but_the_others_count(
    store: Store, wait: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    newer = record(state="failed", name="the newest", attempt_started=minutes_ago(-1))
    write_run(store, newer)
    follow(store, as_json=False, most=1, wait=wait)
    _, line = capsys.readouterr().out.splitlines()
    assert "the newest" in line


def test_other_programs_read_a_line_of_json_for_every_change(
    store: Store, alive: RunRecord, wait: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    follow(store, as_json=True, wait=wait)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["done"], row["state"]) for row in rows[1:]] == [
        (1, "running"),
        (2, "running"),
        (4, "completed"),
    ]
    assert rows[1] == alive.model_dump(mode="json")


def test_a_terminal_has_one_table_that_is_redrawn(store: Store, alive: RunRecord) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=60, height=4)
    older = [
        record(state="completed", name=f"older {n}", attempt_started=minutes_ago(9 - n)) for n in range(3)
    ]
    redraw(iter([([*older, alive], [alive]), ([alive.model_copy(update={"done": 3})], [])]), console)
    text = drawn.getvalue()
    assert "1/4" in text and "3/4" in text and "older 2" in text
    assert "older 1" not in text, "there is room for two of them"
    assert "\x1b[?25l" in text and text.endswith("\x1b[?25h"), "the cursor is there again"


def test_ctrl_c_ends_it_with_its_own_code_and_no_word(
    store: Store, alive: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    write_run(store, alive)
    with pytest.raises(typer.Exit) as ended:
        follow(store, as_json=False, wait=interrupt)
    assert ended.value.exit_code == 130
    assert not capsys.readouterr().err


def test_the_command_follows_until_no_run_is_at_work(
    store: Store, alive: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["--store", str(store.root)]
    done = CliRunner().invoke(app, ["runs", "-f", *there])
    assert (done.exit_code, done.stdout) == (
        0,
        f"there are no runs in {store.root}; for another store add --store DIR\n",
    )
    assert CliRunner().invoke(app, ["runs", "-f", "--json", *there]).stdout == ""
    write_run(store, record(state="crashed", reason="it was tired", attempt_started=minutes_ago(5)))
    done = CliRunner().invoke(app, ["runs", "--follow", *there])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 2 and "it was tired" in done.stdout

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    write_run(store, alive)
    monkeypatch.setattr(view.time, "sleep", interrupt)
    done = CliRunner().invoke(app, ["runs", "--follow", "--json", *there])
    assert done.exit_code == 130 and [json.loads(line)["state"] for line in done.stdout.splitlines()] == [
        "crashed",
        "running",
    ]
    assert not done.stderr
