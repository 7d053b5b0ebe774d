"""Two files that would be one trial."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweepflow.errors import ConfigError
from sweepflow.schema.data import FileData
from sweepflow.schema.fields import Config, Content, Location
from sweepflow.schema.locations import refuse_other_files


class Inner(Config):
    weights: Location[Path | None] = None


class Outer(Config):
    inner: Inner = Inner()
    log: Location[str] = ""
    table: Content[str] = ""
    data: FileData = FileData(path="none.csv", sha256="ab")


def outer(folder: Path, weights: str = "a", **values: str) -> Outer:
    named = {name: str(folder / value) for name, value in values.items()}
    data = FileData(path=named.pop("path", "none.csv"), sha256="ab")
    return Outer(inner=Inner(weights=folder / weights), data=data, **named)


def test_files_that_differ_are_named_and_all_else_passes(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2"), ("copy of a", "1")):
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    one = outer(tmp_path, "a", log="a", table="a", path="a")
    for other in (
        one,
        outer(tmp_path, "copy of a", log="copy of a"),
        outer(tmp_path, "not there", log="folder"),
        outer(tmp_path, "a", table="b", path="b"),  # known by what is said, and by its digest
        Outer(),
    ):
        refuse_other_files("trl_1", one, other.model_dump(mode="json"))
    times = os.stat(tmp_path / "a")
    os.utime(tmp_path / "b", ns=(times.st_atime_ns, times.st_mtime_ns))  # as large, and as old
    for key, other in (("inner.weights", outer(tmp_path, "b")), ("log", outer(tmp_path, log="b"))):
        with pytest.raises(ConfigError, match=f"two files.*{key}.*\n.*{key}=.*a and {key}=.*b.*trl_1"):
            refuse_other_files("trl_1", one, other.model_dump(mode="json"))
