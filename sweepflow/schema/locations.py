"""Files that are not part of a trial's identity: two different files must not silently be one trial."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config, Role, roles


def refuse_other_files(trial_id: str, config: Config, other: Mapping[str, Any]) -> None:
    """Check that two configurations of one trial name no files with different content.

    A section with a `sha256` is skipped: it identifies its file by that, whatever the path.

    Args:
        trial_id: The id of both configurations.
        config: A configuration.
        other: The other configuration, as plain JSON.

    Raises:
        ConfigError: if a `Location` field names a file in each configuration, and the bytes of the two files
            differ.
    """
    for key, mine, others in _files(config, other, ""):
        if not filecmp.cmp(mine, others, shallow=False):
            raise ConfigError(
                f"two files would be one trial: {key} is a Location, which is no part of what identifies it",
                got=f"{key}={mine} and {key}={others}, both of {trial_id}",
                allowed="files of the same bytes, or one",
                do=f"mark {key} as Content where the file decides the result, or read it in inputs()",
            )


def _files(config: Config, other: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Path, Path]]:
    """Dotted keys of `Location` fields that name two different paths of files, each with the two paths."""
    if getattr(config, "sha256", ""):
        return
    for name, role in roles(type(config)).items():
        mine, others = getattr(config, name), other.get(name)
        if isinstance(mine, Config) and isinstance(others, Mapping):
            yield from _files(mine, others, f"{prefix}{name}.")
        elif role is Role.LOCATION and isinstance(mine, (str, os.PathLike)) and isinstance(others, str):
            paths = Path(mine).expanduser(), Path(others).expanduser()
            if str(mine) != others and all(map(os.path.isfile, paths)):
                yield f"{prefix}{name}", *paths
