"""Which code is the user's own, and which is a library's, that changes with its version only."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path, PurePath

PACKAGES = {"site-packages", "dist-packages"}
"""What folders of packages are called, also those of another interpreter or of a user (`--user`)."""
FOLDERS = {
    found
    for kind in ("stdlib", "platstdlib", "purelib", "platlib")
    for path in [Path(sysconfig.get_path(kind))]
    for found in (path, path.resolve())
}
"""Those of this interpreter, by the names that it has for them."""


@cache
def is_installed(path: PurePath | str) -> bool:
    """Whether a file, or a folder, belongs to Python itself or to an installed package."""
    if str(path).startswith("<frozen"):
        return True
    path = PurePath(path)
    return any(holds_packages(folder) for folder in (path, *path.parents))


def holds_packages(folder: PurePath) -> bool:
    """Whether a folder is one that packages are installed into: what lies in it side by side is unrelated."""
    return folder.name in PACKAGES or folder in FOLDERS
