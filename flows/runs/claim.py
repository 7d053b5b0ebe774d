"""One process at a time goes on with a run."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.runs.liveness import this_host
from sweepflow.errors import ConfigError, StoreError
from sweepflow.store.store import Store

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems say that have none; there, only the run file says that a run is alive again."""


def lock_path(store: Store, flow_run_id: str) -> Path:
    """The file that is locked while a run is gone on with."""
    return store.paths.run(flow_run_id).with_suffix(".lock")


@contextmanager
def claim(store: Store, flow_run_id: str) -> Iterator[None]:
    """Be the only one to go on with a run until the block ends.

    The system takes the lock back from a process that ends, however it ends.

    Raises:
        ConfigError: where another process is at it.
        StoreError: where the store cannot be written.
    """
    path = lock_path(store, flow_run_id)
    try:
        file = path.open("a+")
    except OSError as error:
        raise StoreError(
            "the store cannot be written",
            got=f"{path}: {error.strerror}",
            do="free space or mend permissions",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                "another process is going on with this run already",
                got=f"{flow_run_id}: {file.read().strip() or 'just now'}",
                do="wait for it, and see how it is: sweepflow runs",
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {this_host()}\n")
        file.flush()
        yield
