"""Records of a batch as the store shows them here; a worker on another machine may have written them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

SEEN_SECONDS = 20.0
"""Maximum time until a record that a worker has written is seen here."""
LOOK_SECONDS = 0.1


def await_records(store: Store, ids: set[str]) -> dict[str, Record]:
    """Wait until all records that another machine has written are seen, or time is up, and return them.

    A network file system may remember for a while that a file was not there. Listing the directory of the
    file makes the file system look again.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while missing := ids - (found := store.current(ids)).keys():
        if time.monotonic() > deadline:
            break
        look(store, missing)
        time.sleep(LOOK_SECONDS)
    return found


def look(store: Store, ids: Iterable[str]) -> None:
    """Make the file system look for files of records that it may remember as missing."""
    for folder in {store.paths.record(trial_id).parent for trial_id in ids}:
        with suppress(OSError):
            os.listdir(folder)


def changed(file: Path) -> int | None:
    """Return the time of the last write to a file, in ns; None if there is no file."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
