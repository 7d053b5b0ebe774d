"""The run file: what the store knows of one flow run, whatever became of its process."""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.store import Store

RunState = Literal["running", "completed", "failed", "crashed", "cancelled"]
MAX_NAMES = 8
"""Runs that an error lists."""
SHORT = 8
"""Characters of an id that lists show at least."""


class RunFileWarning(UserWarning):
    """A file among the run files that is none, or one that cannot be written."""


RESUMABLE = {
    "llc": "sweepflow.flows.llc_sweep",
    "sweep": "sweepflow.flows.trials_sweep",
    "verify": "sweepflow.flows.verify",
}
"""Flows that a shell can go on with, and where they are; others are in scripts of the user's."""


class RunRecord(BaseModel):
    """One flow run.

    Attributes:
        flow_run_id: Prefect's id of it.
        flow: The flow's name: `llc`, `sweep`, `verify`.
        name: The sweep's name.
        run_name: Prefect's name of the flow run.
        command: What is typed in a shell for it.
        parameters: The flow's, as JSON.
        directory: Working directory of its process.
        host: Where its process is or was.
        machine: The boot of that host and the pid namespace, in which `pid` means something.
        pid: Its process.
        pid_started: The process's start, so that a later process with the same pid is not taken for it.
        started: Its first start; UTC, ISO 8601, as all times here.
        attempt: How often it has been started.
        attempt_started: The start of the latest attempt.
        beat: The latest sign of life; of an ended run, its end.
        state: What its process last said of it.
        reason: Why it ended so, in words.
        runner: Kind of its runner.
        job_name: Name of its SLURM jobs.
        api_url: The Prefect server it talks to; None where that was of the process's own.
        deployment_id: The deployment that it is a run of.
        successor: The flow run that went on with it where it could not be continued itself.
        total: Trials of the sweep.
        done: Trials that have a result, with those that were known.
        known: Trials that had one before it began.
        lost: Workers that were lost.
        waiting: What it waits for, in words.
        versions: Of Python and what decides results.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    format: Literal[1] = 1
    flow_run_id: str
    flow: str
    name: str
    run_name: str = ""
    command: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    directory: str
    host: str
    machine: str
    pid: int
    pid_started: float
    started: datetime.datetime
    attempt: int = 1
    attempt_started: datetime.datetime
    beat: datetime.datetime
    state: RunState = "running"
    reason: str | None = None
    runner: str = "local"
    job_name: str | None = None
    api_url: str | None = None
    deployment_id: str | None = None
    successor: str | None = None
    total: int | None = None
    done: int | None = None
    known: int | None = None
    lost: int = 0
    waiting: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


def now() -> datetime.datetime:
    """The time now, in UTC and whole milliseconds."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def write_run(store: Store, record: RunRecord) -> None:
    """Keep what is known of a run, in place of what was.

    Raises:
        StoreError: where the store cannot be written.
    """
    write_bytes(store.paths.run(record.flow_run_id), record.model_dump_json(indent=1).encode())


def read_run(path: Path) -> RunRecord | None:
    """A run file; None and a warning where it is torn or none, None where it is gone."""
    try:
        content = path.read_bytes()
        record = RunRecord.model_validate_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is torn, or no run file"
        warnings.warn(f"{path} is passed over: {why}", RunFileWarning, stacklevel=2)
        return None
    if record.flow_run_id != path.stem:
        warnings.warn(f"{path} is passed over: it is another run's", RunFileWarning, stacklevel=2)
        return None
    return record


def runs(store: Store) -> list[RunRecord]:
    """Every run that the store knows, by the start of its latest attempt, the newest last."""
    found = [record for path in _files(store) if (record := read_run(path)) is not None]
    return sorted(found, key=lambda record: (record.attempt_started, record.flow_run_id))


def short_ids(flow_run_ids: Iterable[str]) -> dict[str, str]:
    """The beginning of each id that lists show and commands take: as much as tells it from the others.

    Prefect's ids of scheduled runs begin with the time: those of two that are a minute apart differ late.
    """
    ordered = sorted(set(flow_run_ids))
    shared = [0, *(_shared(*pair) for pair in pairwise(ordered)), 0]
    return {
        one: one[: max(SHORT, before + 1, after + 1)]
        for one, before, after in zip(ordered, shared, shared[1:], strict=False)
    }


def short_id(store: Store, run: RunRecord | str) -> str:
    """The beginning of a run's id that tells it from every other run of the store."""
    whole = run if isinstance(run, str) else run.flow_run_id
    return short_ids([whole, *(path.stem for path in _files(store))])[whole]


def get_run(store: Store, flow_run_id: str) -> RunRecord | None:
    """A run by its whole id."""
    path = store.paths.run(flow_run_id)
    return read_run(path) if path.exists() else None


def find_run(store: Store, word: str) -> RunRecord:
    """The run that a person means by a word.

    Args:
        store: Where it is known.
        word: Its id or a beginning of it, Prefect's name of the flow run, or the sweep's name, of which the
            newest run is meant.

    Raises:
        ConfigError: where there is none, or several begin so.
    """
    known = runs(store)
    if re.fullmatch(r"[0-9a-fA-F-]{4,36}", word):
        begins = [record for record in known if record.flow_run_id.startswith(word.lower())]
        if len(begins) == 1:
            return begins[0]
        if begins:
            raise ConfigError(
                "several runs begin so",
                got=word,
                allowed=", ".join(record.flow_run_id for record in begins[-MAX_NAMES:]),
                do="give more of the id",
            )
    named = [record for record in known if word in (record.run_name, record.name)]
    if named:
        return named[-1]
    short = short_ids(record.flow_run_id for record in known)
    names = list(dict.fromkeys(name for record in known for name in (short[record.flow_run_id], record.name)))
    raise ConfigError(
        f"the store {store.root} knows no such run",
        got=word,
        allowed=", ".join(names[-MAX_NAMES:]) or "there is none yet",
        do=did_you_mean(word, names) if names else "for another store add --store DIR",
    )


def _shared(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _files(store: Store) -> Iterable[Path]:
    return store.paths.run("any").parent.glob("[!.]*.json")
