"""What of a batch the store shows here, which a worker on another machine may have written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

SEEN_SECONDS = 20.0
"""How long a record may take to be seen here that a worker has written."""
LOOK_SECONDS = 0.1


def await_records(store: Store, ids: set[str]) -> dict[str, Record]:
    """Records that another machine has written, once all of them are seen, or time is up.

    A network file system may remember for a while that a file was not there; to list its directory makes it
    look.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while missing := ids - (found := store.current(ids)).keys():
        if time.monotonic() > deadline:
            break
        look(store, missing)
        time.sleep(LOOK_SECONDS)
    return found


def look(store: Store, ids: Iterable[str]) -> None:
    """Make the file system look for records whose files it may remember not to be there."""
    for folder in {store.paths.record(trial_id).parent for trial_id in ids}:
        with suppress(OSError):
            os.listdir(folder)


def changed(file: Path) -> int | None:
    """When a file was last written, in ns; None where there is none."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
