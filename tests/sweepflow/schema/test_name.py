"""Every name that becomes a folder passes one check."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sweepflow.errors import ConfigError
from sweepflow.jobs.plan import JobPlan
from sweepflow.schema.name import MAX_NAME, SweepName, as_name, check_name, check_path
from sweepflow.storage.paths import StorePaths

BAD = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\n",
    "a.",
    "a ",
    " a",
    "-a",
    "größe",
    "a" * 201,
    "{x}",
]
TEXTS = st.sampled_from(BAD) | st.text(max_size=300) | st.text("aB9._- /", max_size=8)


@given(TEXTS)
@example("first try")
@example("a" * MAX_NAME)
def test_a_name_is_one_folder_or_is_refused_everywhere(name: str) -> None:
    try:
        TypeAdapter(SweepName).validate_python(name)
    except ValidationError:
        with pytest.raises(ConfigError, match="cannot be the name of a folder"):
            check_name(name, "name")
        with pytest.raises(ConfigError):
            StorePaths(Path("store")).sweep(name)
        with pytest.raises(ConfigError):
            JobPlan({"x": 1}, len, [], "store", name=name)
    else:
        assert check_name(name, "name") == name
        folder = StorePaths(Path("store")).jobs(name, "1")
        assert folder.parts == ("store", "sweeps", name, "jobs", "1")
        assert os.path.normpath(folder) == str(folder)
        assert name.isascii() and len(name) <= MAX_NAME and name.strip(" .") == name


@given(TEXTS, st.integers(0, 20))
def test_any_text_gives_a_name(text: str, room: int) -> None:
    assert check_name(as_name(text, room) + "a" * room, "name")


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"job_name cannot be(.|\n)*letters a–z and digits(.|\n)*write it like"
    ):
        check_name(name, "job_name")


@given(TEXTS)
@example("a b ")
@example("a  b")
@example("first_try")
def test_the_name_that_is_suggested_keeps_what_is_allowed(name: str) -> None:
    inner = name.strip("._- ")
    if re.fullmatch("[A-Za-z0-9. -]+", inner) and len(name) <= MAX_NAME:
        assert as_name(name) == inner


def test_a_name_is_text() -> None:
    given: Any = 5
    with pytest.raises(ConfigError, match="write it like name='5'"):
        check_name(given, "name")


def test_a_function_of_any_name_has_a_sweep() -> None:
    def größe(cfg: Any) -> None: ...

    größe.__qualname__ = "../" * 99 + "größe"
    name = JobPlan({"x": 1}, größe, [], "store").name
    assert check_name(name, "name") == name


def test_a_path_is_one_that_file_systems_take() -> None:
    assert check_path("/a/" + "ü" * 127, "less") == "/a/" + "ü" * 127
    for path in ("/a/" + "ü" * 128, "/a\0b"):
        with pytest.raises(ConfigError, match=r"255 bytes(.|\n)*do: +give less"):
            check_path(path, "give less")
