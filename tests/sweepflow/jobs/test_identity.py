"""What identifies a job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sweepflow.errors import ConfigError
from sweepflow.jobs.identity import job_id, name_of, source_of


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
    assert source_of(pow) == ""


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
    assert source_of(typed["f"]) == source_of(again["f"]) != ""


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
    with pytest.raises(ConfigError, match="NaN"):
        job_id("m.f", "", None, {"x": float("nan")})
