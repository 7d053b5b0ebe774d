"""The run file: the store's information about one flow run, whatever happens to the process of the run."""

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
"""Maximum number of runs that an error lists."""
SHORT = 8
"""Minimum number of characters of an id in lists."""


class RunFileWarning(UserWarning):
    """A file among the run files that is not a run file, or a run file that cannot be written."""


RESUMABLE = {
    "llc": "sweepflow.flows.llc",
    "sweep": "sweepflow.flows.sweep",
    "verify": "sweepflow.flows.verify",
}
"""Flows that can be resumed from a shell, and their modules; other flows are in the user's scripts."""


class RunRecord(BaseModel):
    """One flow run.

    Attributes:
        flow_run_id: Prefect's id of it.
        flow: The flow's name: `llc`, `sweep`, `verify`.
        name: The sweep's name.
        run_name: Prefect's name of the flow run.
        command: The shell command for it.
        parameters: Parameters of the flow, as JSON.
        directory: Working directory of its process.
        host: Host of its process.
        machine: The boot of that host and the pid namespace, in which `pid` is valid.
        pid: Id of its process.
        pid_started: The process's start, so that a later process with the same pid is not taken for it.
        started: Its first start; UTC, ISO 8601, like all times here.
        attempt: Number of times that it has been started.
        attempt_started: The start of the latest attempt.
        beat: The latest sign of life; for a run that has ended, its end.
        state: The state that its process last reported.
        reason: The reason why it ended so, in words.
        runner: Kind of its runner.
        job_name: Name of its SLURM jobs.
        api_url: The Prefect server that it talks to; None if the server belonged to the process itself.
        deployment_id: Id of the deployment that the run belongs to.
        successor: Id of the flow run that went on with it, if it could not be continued itself.
        total: Number of trials of the sweep.
        done: Number of trials that have a result, including those that were known.
        known: Number of trials that had a result before the run began.
        lost: Number of workers that were lost.
        waiting: The thing that it waits for, in words.
        versions: Versions of Python and of everything that decides results.
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
    """Return the current time, in UTC and whole milliseconds."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def write_run(store: Store, record: RunRecord) -> None:
    """Write the run file of a run, and replace the earlier one.

    Raises:
        StoreError: if the store cannot be written.
    """
    write_bytes(store.paths.run(record.flow_run_id), record.model_dump_json(indent=1).encode())


def read_run(path: Path) -> RunRecord | None:
    """Read a run file. Return None if it is gone, and None with a warning if it is torn or not a run file."""
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
    """Return every run that the store knows, sorted by the start of its latest attempt, the newest last."""
    found = [record for path in _files(store) if (record := read_run(path)) is not None]
    return sorted(found, key=lambda record: (record.attempt_started, record.flow_run_id))


def short_ids(flow_run_ids: Iterable[str]) -> dict[str, str]:
    """Return the short form of each id for lists and commands: enough to tell it from the other ids.

    The short form is the beginning of the id. Prefect's ids of scheduled runs begin with the time, so that
    the ids of two runs that are a minute apart differ late.
    """
    ordered = sorted(set(flow_run_ids))
    shared = [0, *(_shared(*pair) for pair in pairwise(ordered)), 0]
    return {
        one: one[: max(SHORT, before + 1, after + 1)]
        for one, before, after in zip(ordered, shared, shared[1:], strict=False)
    }


def short_id(store: Store, run: RunRecord | str) -> str:
    """Return the beginning of a run's id that tells it from every other run of the store."""
    whole = run if isinstance(run, str) else run.flow_run_id
    return short_ids([whole, *(path.stem for path in _files(store))])[whole]


def get_run(store: Store, flow_run_id: str) -> RunRecord | None:
    """Return a run by its whole id."""
    path = store.paths.run(flow_run_id)
    return read_run(path) if path.exists() else None


def find_run(store: Store, word: str) -> RunRecord:
    """Return the run that a person means by a word.

    Args:
        store: The store that knows the run.
        word: The run's id or the beginning of it, Prefect's name of the flow run, or the sweep's name, which
            means its newest run.

    Raises:
        ConfigError: if there is no such run, or if several ids begin with the word.
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
    """Return the number of characters at the beginning that two texts share."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _files(store: Store) -> Iterable[Path]:
    return store.paths.run("any").parent.glob("[!.]*.json")
