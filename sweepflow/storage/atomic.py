"""Atomic writes of files: a file is complete or does not exist."""

from __future__ import annotations

import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweepflow.errors import StoreError

TEMPORARY_SUFFIX = ".tmp"
TEMPORARY = re.compile(r"\..+\.(?P<host>[^.]*)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp")
LONGEST_WRITE_SECONDS = 3600.0
"""Seconds since the last write after which a temporary file counts as abandoned."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same directory, then rename it to `path`.

    Two writers of one path do not interfere: each has its own temporary name, and the last rename wins.

    Raises:
        StoreError: if the directory cannot be written.
    """
    writer = f"{_host()}.{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name}.{writer}{TEMPORARY_SUFFIX}")
    with _writing(path):
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append one line; lines of two writers are never mixed.

    Raises:
        StoreError: if the file cannot be written.
    """
    with _writing(path), path.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")  # one write in append mode


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the directory of a file, and raise errors of the file system as `StoreError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            "the store cannot be written",
            got=f"{path}: {error.strerror or error}",
            do="free space, mend the permissions, or give another directory with store=DIR",
        ) from error


def read_bytes(path: Path, what: str, do: str) -> bytes | None:
    """The content of a file, or None if there is no file.

    Args:
        path: The file.
        what: Problem named in the error if the file cannot be read.
        do: Advice in that error.

    Raises:
        StoreError: if the file cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(what, got=f"{path}: {error.strerror}", do=do) from error


def abandoned_temporaries(root: Path) -> list[Path]:
    """Temporary files under a directory whose writer is dead, or that have not been written for an hour."""
    oldest = time.time() - LONGEST_WRITE_SECONDS
    found = []
    for path in sorted(root.rglob(f".*{TEMPORARY_SUFFIX}")):
        name = TEMPORARY.fullmatch(path.name)
        try:
            if name and (path.stat().st_mtime < oldest or _is_dead(name["host"], int(name["pid"]))):
                found.append(path)
        except FileNotFoundError:  # it has just been renamed
            continue
    return found


def _host() -> str:
    """This machine's name without its domain."""
    return platform.node().split(".")[0]


def _is_dead(host: str, pid: int) -> bool:
    """Return whether a process belonged to this machine and no longer exists."""
    if host != _host():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
