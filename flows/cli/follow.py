"""A live view of the runs on a store, for a terminal, a file or another program. It reads only run files."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweepflow.flows.cli.documents import print_json, run_document
from sweepflow.flows.runs.record import RunRecord, runs
from sweepflow.flows.runs.table import actual_state, runs_table
from sweepflow.storage.store import Store

LOOK_SECONDS = 1.0
"""Time between two looks at the run files."""
AT_WORK = {"running", "unknown"}
"""States of runs whose process may be alive."""

Looks = Iterator[tuple[list[RunRecord], list[RunRecord]]]
"""What each look at a store finds: all runs, and those of them that have changed."""


def pause() -> None:
    """Wait until the store is looked at again."""
    time.sleep(LOOK_SECONDS)


def follow(store: Store, as_json: bool, most: int = sys.maxsize, wait: Callable[[], None] = pause) -> None:
    """Show the runs on a store, and what changes, until no run is at work.

    On a terminal, a table is redrawn. Elsewhere, a line is printed for each run that has changed.

    Args:
        store: The store.
        as_json: Whether a line of JSON is printed for each run that has changed.
        most: Maximum number of runs, the newest ones, that lines are printed for.
        wait: Function that waits until the store is looked at again.

    Raises:
        typer.Exit: if Ctrl-C ends it; with exit code 130.
    """
    looks = _looks(store, wait)
    try:
        if as_json:
            _print_documents(looks)
        elif sys.stdout.isatty():
            redraw(looks, Console())
        else:
            _print_lines(looks, most)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _looks(store: Store, wait: Callable[[], None]) -> Looks:
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    while True:
        known = runs(store)
        states = {record.flow_run_id: actual_state(record) for record in known}
        # A sign of life by itself is no change.
        now = {one.flow_run_id: (states[one.flow_run_id], one.model_dump(exclude={"beat"})) for one in known}
        yield known, [one for one in known if now[one.flow_run_id] != seen.get(one.flow_run_id)]
        if not AT_WORK & set(states.values()):
            return
        seen = now
        wait()


def _print_documents(looks: Looks) -> None:
    for _, changed in looks:
        for record in changed:
            print_json(run_document(record), indent=None)


def _print_lines(looks: Looks, most: int) -> None:
    for number, (known, changed) in enumerate(looks):
        heading, *lines = runs_table(known[-most:], among=known)
        if number == 0:
            typer.echo(heading)
        for record, line in zip(known[-most:], lines, strict=True):
            if record in changed:
                typer.echo(line)


def redraw(looks: Looks, console: Console) -> None:
    """Draw a table of the newest runs again and again, as many as a terminal has lines for."""
    with Live(console=console, auto_refresh=False) as live:
        for known, _ in looks:
            shown = known[-max(1, console.height - 2) :]
            lines = "\n".join(runs_table(shown, among=known))
            live.update(Text(lines, no_wrap=True, overflow="ellipsis"), refresh=True)
