"""Claims on runs, so that only one process at a time goes on with a run."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TextIO

from prefect import get_run_logger
from prefect.context import FlowRunContext
from prefect.exceptions import Abort

from sweepflow.errors import ConfigError, StoreError
from sweepflow.flows.runs.liveness import Life, is_alive, this_host, this_machine
from sweepflow.flows.runs.record import RunRecord, get_run
from sweepflow.storage.store import Store

WATCH_SECONDS = 60.0
"""Time to wait for a sign of life from a process elsewhere, which gives one every few seconds."""
WATCH_DEAD_SECONDS = 15.0
"""The same wait if the latest sign of life is so old that only a different clock could be the cause."""
LOOK_SECONDS = 1.0

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""Error codes of file systems without locks. There, only the run file says that a run is alive again."""

_HELD: set[Path] = set()
"""Locks of runs that this process goes on with."""


def lock_path(store: Store, flow_run_id: str) -> Path:
    """Return the path of the file that is locked while a process goes on with a run."""
    return store.paths.run(flow_run_id).with_suffix(".lock")


@contextmanager
def claim(store: Store, flow_run_id: str) -> Iterator[None]:
    """Make this process the only one that goes on with a run, until the block ends.

    The operating system releases the lock of a process that ends, however the process ends.

    Raises:
        ConfigError: if another process is going on with the run.
        StoreError: if the store cannot be written.
    """
    path = _real(store, flow_run_id)
    if path in _HELD:  # by this process, which is no other
        yield
        return
    with _locked(path, flow_run_id) as file:
        with suppress(OSError):  # a full disk: who holds it is a courtesy
            os.truncate(path, 0)
            os.write(file.fileno(), f"process {os.getpid()} on {this_host()}\n".encode())
        _HELD.add(path)
        try:
            yield
        finally:
            _HELD.discard(path)
            with suppress(OSError):
                path.unlink()


def _real(store: Store, flow_run_id: str) -> Path:
    return Path(os.path.realpath(lock_path(store, flow_run_id)))


def _locked(path: Path, flow_run_id: str) -> TextIO:
    """Open the lock's file, lock it, and return it.

    Raises:
        ConfigError, StoreError: as `claim`.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
        except OSError as error:
            raise StoreError(
                "the store cannot be written",
                got=f"{path}: {error.strerror}",
                do="free space or mend permissions",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            with file:
                raise ConfigError(
                    "another process is going on with this run already",
                    got=f"{flow_run_id}: {file.read().strip() or 'just now'}",
                    do="wait for it, and see how it is: sweepflow runs",
                ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                raise
        if _is_at(path, file):
            return file
        file.close()  # the one that held it has removed it meanwhile


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def alone(store: Store, flow_run_id: str) -> Iterator[None]:
    """Make this process the only one that works on a flow run, until the block ends.

    The block must be entered before any work. Prefect gives a run to a second process if somebody, or an
    automation, has set the run to Scheduled while the first process only seemed to be dead. The second
    process then ends, and leaves the run's state to the first.

    Raises:
        Abort: in a flow, if another process works on the run; Prefect's engine then ends quietly.
        ConfigError: outside a flow, for the same reason.
    """
    before = None if _real(store, flow_run_id) in _HELD else get_run(store, flow_run_id)
    if before is not None and (why := _still_at_it(store, before)):
        _leave(flow_run_id, why)
    with ExitStack() as stack:
        try:
            stack.enter_context(claim(store, flow_run_id))
        except ConfigError as error:
            _leave(flow_run_id, str(error.got))
        except StoreError:
            pass  # it cannot be written, and so no run file either: whatever needs it says so
        yield


def _still_at_it(store: Store, record: RunRecord) -> str:
    """Return the evidence that another process works on a run; empty if none does."""
    found = is_alive(record)
    if record.machine == this_machine():
        mine = record.pid == os.getpid()
        return found.words if found.life is Life.ALIVE and not mine else ""
    if record.state != "running":
        return ""
    watch = WATCH_DEAD_SECONDS if found.life is Life.DEAD else WATCH_SECONDS
    deadline = time.monotonic() + watch
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        seen = get_run(store, record.flow_run_id)
        if seen is None or seen.state != "running":
            return ""
        if seen.beat != record.beat:
            return f"process {seen.pid} on {seen.host} has just given a sign of life"
    return ""


def _leave(flow_run_id: str, why: str) -> NoReturn:
    if FlowRunContext.get() is None:
        raise ConfigError(
            "another process is at this run already",
            got=f"{flow_run_id}: {why}",
            do="wait for it, and see how it is: sweepflow runs",
        )
    get_run_logger().error("another process is at this run already, and goes on with it: %s", why)
    raise Abort(f"another process is at this run already: {why}")
