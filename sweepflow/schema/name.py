"""Names that become file names: a check of the names that users give, and names made from any other text."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from sweepflow.errors import ConfigError

MAX_NAME = 200
"""Most characters of a name. File systems allow 255 bytes; the rest is left for suffixes of related files."""
MAX_FILE_NAME = 255
"""Most bytes of one part of a path on Linux and macOS."""
NAME = rf"^[A-Za-z0-9](?:[A-Za-z0-9._ -]{{0,{MAX_NAME - 2}}}[A-Za-z0-9_-])?$"
NAME_IN_WORDS = (
    f"letters a–z and digits, and inside it dots, hyphens, underscores, spaces, {MAX_NAME} at most"
)

SweepName = Annotated[str, Field(pattern=NAME)]
"""Name of one folder on any file system: not `..`, not a path, and nothing that shells or disks change."""


def check_name(name: str, argument: str) -> str:
    """Check a name that a user has given and that no schema has checked.

    Args:
        name: The name.
        argument: Name of the argument, for the error.

    Returns:
        The name.

    Raises:
        ConfigError: for a name that cannot be the name of a folder.

    >>> check_name("first try", "name")
    'first try'
    """
    if not isinstance(name, str) or not re.fullmatch(NAME[1:-1], name):
        raise ConfigError(
            f"{argument} cannot be the name of a folder",
            got=f"{argument}={name!r}",
            allowed=NAME_IN_WORDS,
            do=f"write it like {argument}={as_name(str(name))!r}",
        )
    return name


def as_name(text: str, room: int = 0) -> str:
    """Make a valid name that is similar to a text; `room` more characters can follow the name.

    >>> as_name("../größe")
    'gr_e'
    >>> as_name("first try ")
    'first try'
    """
    plain = re.sub(r"[^A-Za-z0-9. -]+", "_", text)[: MAX_NAME - room]
    return plain.strip("._- ") or "sweep"


def check_path(path: str, do: str) -> str:
    """Check a path that a configuration gives.

    Args:
        path: The path.
        do: Advice for the error.

    Returns:
        The path.

    Raises:
        ConfigError: for a path that no file system allows.
    """
    parts = [part for part in path.split("/") if "\0" in part or len(part.encode()) > MAX_FILE_NAME]
    if parts:
        raise ConfigError(
            "no file can have this name",
            got=f"{parts[0]!r}, in a path of {len(path)} characters",
            allowed=f"{MAX_FILE_NAME} bytes between two slashes, and no NUL among them",
            do=do,
        )
    return path
