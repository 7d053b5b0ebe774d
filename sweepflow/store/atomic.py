"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sweepflow.errors import StoreError

TEMPORARY_SUFFIX = ".tmp"


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside in the same directory, then rename over `path`.

    Two writers of one path do not mix: each has a temporary name of its own, and the last rename wins.

    Raises:
        StoreError: where the directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            "the store cannot be written",
            got=f"{path}: {error.strerror or error}",
            do="free space, mend the permissions, or give another directory with store=DIR",
        ) from error


def append_line(path: Path, line: str) -> None:
    """Append one line; lines of two writers do not mix.

    Raises:
        StoreError: where the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")  # one write in append mode
    except OSError as error:
        raise StoreError(
            "the store cannot be written",
            got=f"{path}: {error.strerror or error}",
            do="free space, mend the permissions, or give another directory with store=DIR",
        ) from error
