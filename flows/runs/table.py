"""Output of the command line for runs."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweepflow.flows.runs.liveness import Life, ago, is_alive
from sweepflow.flows.runs.record import RunRecord, now, short_id, short_ids
from sweepflow.storage.store import Store
from sweepflow.words import aligned, shortened

if TYPE_CHECKING:
    from sweepflow.flows.runs.leftovers import (
        Leftover,  # it imports Prefect, which `sweepflow runs` does without
    )

MAX_CELL = 60
"""Maximum number of characters of a cell that may hold any text."""
MAX_STATE = 90


def runs_table(
    records: Sequence[RunRecord],
    at: datetime.datetime | None = None,
    among: Iterable[RunRecord] = (),
) -> list[str]:
    """Return one line for each run, under a line of headings.

    Args:
        records: The runs, in the order of the lines.
        at: The current time.
        among: All runs of the store, if `records` are only some of them. The ids in the table tell a run from
            every one of them.
    """
    at = at or now()
    ids = {i for one in (*records, *among) for i in (one.flow_run_id, one.successor) if i is not None}
    short = short_ids(ids)
    rows = [
        ("run", "flow", "name", "done", "hits", "lost", "runner", "started", "took", "state", "waiting for")
    ]
    for record in records:
        took = (record.beat if record.state != "running" else at) - record.attempt_started
        rows.append(
            (
                short[record.flow_run_id],
                record.flow,
                shortened(record.name, MAX_CELL),
                f"{_count(record.done)}/{_count(record.total)}",
                _count(record.known),
                str(record.lost) if record.lost else "-",
                record.runner,
                f"{ago(max(0.0, (at - record.attempt_started).total_seconds()))} ago",
                ago(max(0.0, took.total_seconds())),
                shortened(state_words(record, at, short), MAX_STATE),
                shortened(record.waiting or "", MAX_CELL),
            )
        )
    return aligned(rows)


def state_words(record: RunRecord, at: datetime.datetime, short: Mapping[str, str]) -> str:
    """Return the actual state of a run in words; `short` has the ids in lists."""
    again = f", attempt {record.attempt}" if record.attempt > 1 else ""
    if record.state != "running":
        gone_on = f", gone on with as {short[record.successor]}" if record.successor else ""
        why = f" ({record.reason})" if record.reason and record.state != "completed" else ""
        return f"{record.state}{again}{gone_on}{why}"
    state = actual_state(record, at)
    if state == "running":
        return f"running{again}"
    silent = ago(max(0.0, (at - record.beat).total_seconds()))
    return f"{state}{again} (no sign of life for {silent})"


def actual_state(record: RunRecord, at: datetime.datetime | None = None) -> str:
    """Return the actual state of a run, whatever its process last reported.

    It is `crashed` if the process of a run is gone, and `unknown` if that cannot be told yet.
    """
    if record.state != "running":
        return record.state
    return {Life.ALIVE: "running", Life.DEAD: "crashed", Life.UNKNOWN: "unknown"}[is_alive(record, at).life]


def leftovers_table(found: Sequence[Leftover]) -> list[str]:
    """Return one line for each thing that was left behind, under a line of headings."""
    rows = [("what", "which", "size", "age", "why")]
    for item in found:
        age = "-" if item.age is None else ago(max(0.0, item.age))
        rows.append((item.kind, item.name, "-" if item.size is None else _bytes(item.size), age, item.why))
    return aligned(rows)


def resume_command(record: RunRecord, store: Store, usual: Path) -> str:
    """Return the shell command that resumes a run.

    Args:
        record: The run.
        store: The store that knows the run.
        usual: The store that commands use if none is given.
    """
    command = f"sweepflow resume {short_id(store, record)}"
    if usual.absolute() == store.root.absolute():
        return command
    return f"{command} --store {shlex.quote(str(store.root))}"


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _bytes(size: int) -> str:
    number = float(size)
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
