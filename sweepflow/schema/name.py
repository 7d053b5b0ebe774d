"""Names that become files: one check of those that users give, and file names made of any other text."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from sweepflow.errors import ConfigError

MAX_NAME = 200
"""Characters of a name; file systems take 255 bytes, of which some are left for what is written beside it."""
MAX_FILE_NAME = 255
"""Bytes of one part of a path, as Linux and macOS take it."""
NAME = rf"^[A-Za-z0-9](?:[A-Za-z0-9._ -]{{0,{MAX_NAME - 2}}}[A-Za-z0-9_-])?$"
NAME_IN_WORDS = (
    f"letters a–z and digits, and inside it dots, hyphens, underscores, spaces, {MAX_NAME} at most"
)

SweepName = Annotated[str, Field(pattern=NAME)]
"""One folder on any file system: neither `..` nor a path, nor what a shell or a disk spells otherwise."""


def check_name(name: str, argument: str) -> str:
    """A name that a user has given, where no schema has checked it.

    Args:
        name: The name.
        argument: What it was given as, for the error.

    Returns:
        The name.

    Raises:
        ConfigError: for one that cannot be a folder of its own.

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
    """A name that is near a text; `room` more characters can follow it.

    >>> as_name("../größe")
    'gr_e'
    >>> as_name("first try ")
    'first try'
    """
    plain = re.sub(r"[^A-Za-z0-9. -]+", "_", text)[: MAX_NAME - room]
    return plain.strip("._- ") or "sweep"


def check_path(path: str, do: str) -> str:
    """A path that a configuration makes.

    Args:
        path: The path.
        do: What can be done about it, for the error.

    Returns:
        The path.

    Raises:
        ConfigError: for one that no file system takes.
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
