"""Encryption between the scheduler, its workers and its client.

It is needed because anybody who can talk to a scheduler can run code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweepflow.errors import StoreError

if TYPE_CHECKING:
    from distributed import Security

TLS = "SWEEPFLOW_TLS"
"""Environment variable that gives workers the path of the file."""


@contextmanager
def encrypted(file: Path) -> Iterator[Security]:
    """Make a key and a certificate for one scheduler, in a file that only this user can read.

    Args:
        file: Path of the file, as workers see it; removed at the end.

    Raises:
        StoreError: if the file cannot be written.
    """
    # Here, as the process that starts a job's workers needs only the arguments below.
    from distributed import Security

    made = Security.temporary()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # of a driver that was killed
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"{made.tls_worker_key}{made.tls_worker_cert}")
    except OSError as error:
        raise StoreError("the store cannot be written", got=f"{file}: {error.strerror}") from error
    try:
        ours = ("client_cert", "client_key", "scheduler_cert", "scheduler_key")
        given = {f"tls_{name}": str(file) for name in ("ca_file", *ours)}
        yield Security(require_encryption=True, **given)
    finally:
        file.unlink(missing_ok=True)


def worker_arguments(environ: Mapping[str, str]) -> list[str]:
    """Return the arguments that a worker's command needs to talk to an encrypted scheduler."""
    file = environ.get(TLS)
    return [] if file is None else ["--tls-ca-file", file, "--tls-cert", file, "--tls-key", file]
