"""Distinction between the user's own code and library code, which changes only with its version."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path, PurePath

PACKAGES = {"site-packages", "dist-packages"}
"""Names of the folders that hold packages, also for another interpreter or for a user (`--user`)."""
FOLDERS = {
    found
    for kind in ("stdlib", "platstdlib", "purelib", "platlib")
    for path in [Path(sysconfig.get_path(kind))]
    for found in (path, path.resolve())
}
"""Folders of this interpreter's standard library and packages, each as the interpreter gives it and
resolved."""


@cache
def is_installed(path: PurePath | str) -> bool:
    """Return whether a file or a folder belongs to Python itself or to an installed package."""
    if str(path).startswith("<frozen"):
        return True
    path = PurePath(path)
    return any(holds_packages(folder) for folder in (path, *path.parents))


def holds_packages(folder: PurePath) -> bool:
    """Return whether packages are installed into a folder, whose entries are then unrelated to each other."""
    return folder.name in PACKAGES or folder in FOLDERS
