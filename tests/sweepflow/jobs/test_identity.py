"""What identifies a job."""

from __future__ import annotations

import functools
import json
import linecache
import math
import os
import subprocess
import sys
import threading
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hydra_zen import zen
from omegaconf import OmegaConf

from sweepflow.jobs.carried import Source, source_of
from sweepflow.jobs.identity import job_id, name_of, plain


def double(cfg: Any) -> Any:
    return 2 * cfg.x


class Callable:
    def __call__(self, cfg: Any) -> Any:
        return cfg


def test_names() -> None:
    assert name_of(double) == f"{__name__}.double"
    assert name_of(partial(double)) == name_of(double)
    assert name_of(Callable()) == f"{__name__}.Callable"
    assert name_of(pow) == "builtins.pow"


def test_the_source_tells_functions_apart() -> None:
    # One line, and so one source text:
    first, second = (lambda cfg: cfg.x + 1, lambda cfg: cfg.x + 2)  # fmt: skip
    assert source_of(first) != source_of(second)
    assert source_of(double) != source_of(first)
    assert source_of(partial(double, 1)) != source_of(partial(double, 2)) != source_of(double)
    assert source_of(pow) == Source("")


def scaled(by: Any) -> Any:
    return lambda cfg: cfg.x * by


class Scale:
    def __init__(self, by: Any) -> None:
        self.by = by
        self.me = self

    def __call__(self, cfg: Any) -> Any:
        return cfg.x * self.by

    def method(self, cfg: Any) -> Any:
        return cfg.x + self.by


@pytest.mark.parametrize("make", [scaled, Scale, lambda by: Scale(by).method, lambda by: zen(scaled(by))])
def test_values_that_a_function_carries_tell_it_apart(make: Any) -> None:
    values: list[Any] = [1, 2.5, "1", [1], {"a": 1}, np.arange(2), np.arange(3), double, len, {1: Scale(1)}]
    sources = [source_of(make(value)) for value in values]
    assert len(set(sources)) == len(values)
    assert sources == [source_of(make(value)) for value in values]


def test_plain_globals_and_defaults_count_and_other_globals_do_not(tmp_path: Path) -> None:
    def source(head: str, default: int = 1) -> Source:
        return source_of(
            written(tmp_path / "f.py", f"{head}\ndef f(cfg, by={default}):\n    return cfg.x * RATE * by\n")
        )

    assert source("RATE = 1") == source("RATE = 1") != source("RATE = 2") != source("RATE = 2", default=2)
    assert source("import math as RATE") == source("import random as RATE")


def test_a_wrapper_has_the_name_of_what_it_calls() -> None:
    assert name_of(zen(double)) == name_of(double)
    assert source_of(zen(double)) != source_of(double)


def written(path: Path, text: str) -> Any:
    """A function of a file, and of what is typed where there is no file."""
    scope: dict[str, Any] = {}
    path.write_text(text)
    exec(compile(text, str(path), "exec"), scope)
    return scope["f"]


def test_an_edit_is_another_source_and_a_move_is_not(tmp_path: Path) -> None:
    text = "def f(cfg):\n    return cfg.x\n"
    first = source_of(written(tmp_path / "a.py", text))
    assert source_of(written(tmp_path / "b.py", f"\n\n{text}")) == first
    assert source_of(written(tmp_path / "c.py", text.replace("cfg.x", "cfg.y"))) != first
    typed: dict[str, Any] = {}
    exec(text, typed)
    again: dict[str, Any] = {}
    exec(text, again)
    assert source_of(typed["f"]) == source_of(again["f"]) != Source("")


def test_a_job_is_its_function_and_its_configuration() -> None:
    tree = OmegaConf.create({"x": 1, "y": "${x}"})
    one = job_id("m.f", "abc", None, tree)
    assert one == job_id("m.f", "abc", None, {"y": 1, "x": 1}) and one.startswith("job_")
    others = {
        job_id("m.g", "abc", None, tree),
        job_id("m.f", "abd", None, tree),
        job_id("m.f", "abc", None, {"x": 2, "y": 1}),
        job_id("m.f", "abc", 1, tree),
    }
    assert len(others | {one}) == 5
    assert job_id("m.f", "abc", 1, tree) == job_id("m.f", "abd", 1, tree), (
        "a version is in place of the source"
    )


class Level(Enum):
    LOW = 1


def test_a_configuration_of_any_kind_is_plain_json() -> None:
    tree = OmegaConf.create(
        {"nan": math.nan, "inf": -math.inf, "path": Path("a/b"), "bytes": b"ab", "level": Level.LOW}
        | {"of": "${oc.env:NO_SUCH_VARIABLE_OF_MINE}", "x": "${inf}"}
    )
    found = plain(tree)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["path"] == "a/b" and found["level"] == "LOW"
    assert found["nan"] != found["inf"] and "6162" in str(found["bytes"])
    assert plain(OmegaConf.create({"y": 2, "x": "${y}"})) == {"y": 2, "x": 2}


NESTED = {
    "a comprehension": "[RATE * i for i in (cfg.x,)]",
    "a generator": "sum(RATE * i for i in (cfg.x,))",
    "a lambda": "(lambda i: RATE * i)(cfg.x)",
}


@pytest.mark.parametrize("body", NESTED.values(), ids=NESTED)
def test_a_global_that_inner_code_uses_counts_and_an_attribute_of_its_name_does_not(
    body: str, tmp_path: Path
) -> None:
    def source(rate: int, x: int = 0) -> Source:
        return source_of(
            written(tmp_path / "f.py", f"RATE = {rate}\nx = {x}\ndef f(cfg):\n    return {body}\n")
        )

    assert source(1) == source(1, x=5) != source(2)


def cached(by: int) -> Any:
    return functools.cache(lambda cfg: cfg * by)


def jitted(by: int) -> Any:
    return jax.jit(lambda cfg: cfg * by)


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, cfg: Any) -> Any:
        return cfg * self.by


def masked(by: int) -> Any:
    array = np.ma.masked_array(np.arange(3), mask=np.arange(3) == by)
    return lambda cfg: array


class Hooked:
    def __init__(self, by: int) -> None:
        self.by = by
        self.hooks = [self.run]

    def run(self, cfg: Any) -> Any:
        return cfg * self.by


@pytest.mark.parametrize("make", [cached, jitted, Slotted, masked, lambda by: Hooked(by).run])
def test_what_wraps_and_what_holds_itself(make: Any) -> None:
    assert source_of(make(1)) == source_of(make(1)) != source_of(make(2))
    assert not source_of(make(1)).unknown


def test_a_value_that_cannot_be_told_from_others_is_named() -> None:
    lock = threading.Lock()
    assert source_of(lambda cfg: lock.locked()).unknown == "_thread.lock"


IN_A_SCRIPT = """
from sweepflow.jobs.carried import source_of
class Mine:
    def __init__(self, x): self.x = {x, "a", "b"}
mine = Mine("c")
def outer(mine):
    return lambda cfg: cfg.x in {"aa", "bb", "cc"} and mine
print(source_of(outer(mine)).digest)
"""


def test_it_is_the_same_in_every_process() -> None:
    def digest(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", IN_A_SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert len({digest(seed) for seed in "123"}) == 1


def test_an_edit_of_what_is_imported_is_not_the_function_that_runs(tmp_path: Path) -> None:
    before = written(tmp_path / "f.py", "def f(cfg):\n    return 1\n")
    first = source_of(before)
    linecache.clearcache()
    after = written(tmp_path / "f.py", "def f(cfg):\n    return 2\n")
    assert source_of(before) != source_of(after) != first
