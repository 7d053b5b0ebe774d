"""Search for things that sweeps have left behind, and removal of these things on request."""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from prefect.client.schemas.objects import FlowRun

from sweepflow.errors import SweepflowError, in_words, with_advice
from sweepflow.flows.runners import slurm
from sweepflow.flows.runners.slurm_command import SlurmError
from sweepflow.flows.runs.claim import claim, lock_path
from sweepflow.flows.runs.leftover_jobs import orphans
from sweepflow.flows.runs.liveness import Life, is_alive, lives
from sweepflow.flows.runs.record import RunRecord, get_run, now, runs, short_id, short_ids, write_run
from sweepflow.flows.runs.requests import forget_request
from sweepflow.report.numbers import counted
from sweepflow.storage.atomic import abandoned_temporaries
from sweepflow.storage.checkpoints import stale_checkpoints
from sweepflow.storage.leases import forget, leases_by_owner
from sweepflow.storage.store import Store

OLD_DAYS = 30.0
"""Age from which a run that has ended needs no run file."""
END_SECONDS = 10.0
"""Maximum wait for a server that is being ended."""
OUR_SERVER = ("-P", "-m", "sweepflow.flows.server.embedded")
PREFECT_SERVER = "prefect.server.api.server:create_app"
TEMPORARY = "PREFECT__SERVER_EPHEMERAL"
"""Environment variable of Prefect's temporary servers. Servers that a person starts do not have it."""
FOSTER_PARENTS = {"systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "launchd"}
"""Names of processes that adopt orphans."""


@dataclass(frozen=True)
class Leftover:
    """Something that nobody needs.

    Attributes:
        kind: Kind of the leftover.
        name: Name that identifies it.
        why: Evidence that nobody needs it.
        age: Age in seconds; None if it has none.
        size: Size in bytes; None if it has none.
        remove: Function that removes it.
        run: The run, if the leftover is a run.
        foreign: Whether it may belong to another store. It is then removed only if all are asked for.
    """

    kind: str
    name: str
    why: str
    age: float | None
    size: int | None
    remove: Callable[[], None]
    run: RunRecord | None = None
    foreign: bool = False


def leftovers(store: Store, say: Callable[[str], None], everything: bool = False) -> list[Leftover]:
    """Find everything that sweeps on this store, and servers of this user on this machine, have left behind.

    Args:
        store: The store.
        say: Function that is called with a message about anything that could not be looked at.
        everything: Whether to look for SLURM jobs even if no run of this store has asked for any.
    """
    from sweepflow.flows.runs.compared import differing

    # First: a sweep has a run file before it sends anything.
    sent = sorted(path for path in store.paths.calls("").glob("*") if path.is_dir())
    held = leases_by_owner(store)
    records = runs(store)
    differ = {record.flow_run_id: (record, row) for record, row in differing(records, say)}
    return [
        *(_jobs(records, say) if everything or any(record.runner == "slurm" for record in records) else ()),
        *dead_servers(),
        *_dead_runs(store, [record for record in records if record.flow_run_id not in differ]),
        *_untold_runs(store, records, differ.values()),
        *_files("half-written record", "its writer is gone", abandoned_temporaries(store.root)),
        *_files("stale checkpoint", "its trial is finished or old", stale_checkpoints(store)),
        *_calls(store, sent),
        *_leases(store, held),
        *_old_runs(store, records),
    ]


def remove(found: Sequence[Leftover]) -> list[str]:
    """Remove what was found, and close dead runs in Prefect, too.

    Returns:
        Messages about leftovers that could not be removed, with the reasons.
    """
    failures = []
    closed: dict[str | None, list[RunRecord]] = defaultdict(list)
    for item in found:
        try:
            item.remove()
        except (SweepflowError, OSError, psutil.Error) as error:
            failures.append(f"{item.kind} {item.name}: {with_advice(error)}")
        else:
            if item.run is not None:
                closed[item.run.api_url].append(item.run)
    for group in closed.values():
        try:
            _close_in_prefect(group)
        except Exception as error:  # its file is closed, and `sweepflow resume` closes the rest
            failures.append(f"Prefect was not told of {len(group)} dead runs: {in_words(error)}")
    return failures


def _close_in_prefect(group: Sequence[RunRecord]) -> None:
    """Set the final states of the flow runs of runs that have ended, and that talked to the same server."""
    from sweepflow.flows.runs.compared import tell_prefect
    from sweepflow.flows.runs.reconcile import read_flow_run
    from sweepflow.flows.server.of_run import server_of

    with server_of(group[0]):
        for record in group:
            row = read_flow_run(record.flow_run_id)
            if row is not None:
                tell_prefect(record, row)


def _jobs(records: Sequence[RunRecord], say: Callable[[str], None]) -> Iterator[Leftover]:
    try:
        ended, unknown = orphans(records)
    except SlurmError as error:
        todo = "run `sweepflow cleanup` where `squeue --me` answers"
        say(f"SLURM's jobs were not looked at: {error.what}; {todo}")
        return
    for jobs, why, foreign in (
        (ended, "its run has ended", False),
        (unknown, "no run of this store names it; --all removes it, too", True),
    ):
        for job in jobs:
            yield Leftover(
                "SLURM job",
                f"{job.id} {job.name}",
                f"{job.state.lower()}; {why}",
                None,
                None,
                partial(slurm.cancel, [job.id]),
                foreign=foreign,
            )


def dead_servers() -> Iterator[Leftover]:
    """Yield temporary Prefect servers of this user, and our embedded servers, whose command is gone."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid() and _is_temporary(process) and _is_orphan(process):
                yield Leftover(
                    "temporary server",
                    f"process {process.pid}",
                    "the command that started it is gone",
                    time.time() - process.create_time(),
                    process.memory_info().rss,
                    partial(_end_server, process),
                )


def _is_temporary(process: psutil.Process) -> bool:
    words = process.cmdline()
    if tuple(words[1:4]) == OUR_SERVER:
        return True
    return PREFECT_SERVER in words and process.environ().get(TEMPORARY, "").lower() in ("1", "true")


def _is_orphan(process: psutil.Process) -> bool:
    """Return whether the parent of a process only adopts orphans.

    In a container, process 1 may be the command itself.
    """
    parent = process.parent()
    if parent is None:
        return True
    reaps = parent.pid == 1 or parent.name() in FOSTER_PARENTS
    own = any("python" in word or "sweepflow" in word or "prefect" in word for word in parent.cmdline()[:2])
    return reaps and not own


def _end_server(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()


def _calls(store: Store, sent: Sequence[Path]) -> Iterator[Leftover]:
    """Yield the calls that dead sweeps of Python functions have sent to workers and back."""
    for directory in sent:
        if lives(store, directory.name):
            continue
        with suppress(FileNotFoundError):
            yield Leftover(
                "calls on their way",
                directory.name,
                "their sweep is gone",
                time.time() - directory.stat().st_mtime,
                sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()),
                partial(shutil.rmtree, directory),
            )


def _leases(store: Store, held: Mapping[str, Sequence[Path]]) -> Iterator[Leftover]:
    """Yield leases of trials that dead runs had in hand. They keep nobody from running these trials."""
    for owner, paths in held.items():
        if not lives(store, owner):

            def remove(paths: Sequence[Path] = paths, owner: str = owner) -> None:
                for path in paths:
                    forget(path, owner)

            name = f"{short_id(store, owner)} of {counted(len(paths), 'trial')}"
            yield Leftover("lease", name, "its run has ended", None, None, remove)


def _dead_runs(store: Store, records: Sequence[RunRecord]) -> Iterator[Leftover]:
    short = short_ids(record.flow_run_id for record in records)
    for record in records:
        found = is_alive(record)
        if record.state == "running" and found.life is Life.DEAD:
            yield Leftover(
                "dead run",
                f"{short[record.flow_run_id]} {record.name}",
                f"says running, but {found.words}; is closed as crashed, and can still be resumed",
                (now() - record.beat).total_seconds(),
                None,
                partial(_close, store, record, found.words),
                record.model_copy(
                    update={"state": "crashed", "reason": f"closed by `sweepflow cleanup`: {found.words}"}
                ),
            )


def _untold_runs(
    store: Store, records: Sequence[RunRecord], differ: Iterable[tuple[RunRecord, FlowRun]]
) -> Iterator[Leftover]:
    """Yield runs whose end was not told to Prefect, or was not written in their file."""
    short = short_ids(record.flow_run_id for record in records)
    for record, row in differ:
        completed = row.state is not None and row.state.is_completed()
        says = f"its file says {record.state}, Prefect says {row.state_name}"
        yield Leftover(
            "untold run",
            f"{short[record.flow_run_id]} {record.name}",
            f"{says}; {'its file' if completed else 'Prefect'} is told the end",
            (now() - record.beat).total_seconds(),
            None,
            partial(_complete, store, record, completed),
            None if completed else record,
        )


def _complete(store: Store, record: RunRecord, completed: bool) -> None:
    """Mark a run as completed in its file, if it has completed, unless somebody goes on with it just now."""
    with claim(store, record.flow_run_id):
        if completed and get_run(store, record.flow_run_id) == record:
            write_run(store, record.model_copy(update={"state": "completed", "reason": None}))


def _close(store: Store, record: RunRecord, reason: str) -> None:
    """Close a dead run in its file, unless somebody goes on with it just now."""
    with claim(store, record.flow_run_id):
        if get_run(store, record.flow_run_id) == record:
            write_run(store, record.model_copy(update={"state": "crashed", "reason": reason}))
        store.paths.run_key(record.flow_run_id).unlink(missing_ok=True)


def _old_runs(store: Store, records: Sequence[RunRecord]) -> Iterator[Leftover]:
    short = short_ids(record.flow_run_id for record in records)
    for record in records:
        age = (now() - record.beat).total_seconds()
        if record.state != "running" and age > OLD_DAYS * 86400:
            path = store.paths.run(record.flow_run_id)

            def remove(record: RunRecord = record, path: Path = path) -> None:
                forget_request(store, record.flow_run_id)
                lock_path(store, record.flow_run_id).unlink(missing_ok=True)
                store.paths.run_key(record.flow_run_id).unlink(missing_ok=True)
                path.unlink(missing_ok=True)

            yield Leftover(
                "old run file",
                f"{short[record.flow_run_id]} {record.name}",
                record.state,
                age,
                _size(path),
                remove,
            )


def _files(kind: str, why: str, paths: Sequence[Path]) -> Iterator[Leftover]:
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.stat()
            yield Leftover(
                kind,
                path.name,
                why,
                time.time() - status.st_mtime,
                status.st_size,
                partial(path.unlink, missing_ok=True),
            )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
