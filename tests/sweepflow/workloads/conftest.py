"""Modules of a user's, written to files at a path with a space in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepflow.engine.run import run_batch
from sweepflow.storage.store import Store

HEAD = """
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, PositiveInt
from sweepflow.schema.fields import Config as Base, Content, Location, Traced
"""

BOWL = (
    HEAD
    + """
CALLS = []
METRIC = "height"
GOAL = "maximize"
VECTOR_WIDTH = 1

class Inner(Base):
    slope: Traced[float] = 1.0

class Config(Base):
    points: PositiveInt = 4
    x: Traced[float] = 0.5
    count: Traced[int] = 2
    inner: Inner = Inner()
    rows: Content[int] = 0
    seed: Content[int] = 0
    where: Location[str] = "here"

def inputs(config):
    CALLS.append((config.rows, config.points))
    return {"a": np.full(config.points, float(config.rows), np.float32), "b": np.arange(3)}

def run(config, inputs, key):
    assert config.x.dtype == jnp.float32 and config.count.dtype == jnp.int32
    curve = config.x * config.inner.slope + jnp.arange(config.points) + inputs["a"]
    return {
        "height": 1 - config.x**2 + 0 * curve[0],
        "halved": config.count // 2,
        "is_even": config.count % 2 == 0,
        "row_sum": jnp.sum(inputs["a"]) + inputs["b"][-1],
        "drawn": jax.random.uniform(key),
        "root": jnp.sqrt(1 - config.x),
        "steps": curve,
        "table": jnp.outer(curve, curve),
    }
"""
)

PLAIN = "class Config(Base):\n    x: Traced[float] = 1.0\ndef run(config, inputs, key):\n"
"""To be completed with what `run` does."""


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., str]:
    """Writes a module under a name of its own."""
    made: list[str] = []

    def write(text: str, name: str | None = None) -> str:
        name = name or f"workload_{tmp_path.name}_{len(made)}"
        file = tmp_path / "a folder" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        made.append(name)
        return str(file)

    return write


def run(workload: Any, configs: list[Any], store: Store, **settings: Any) -> list[Any]:
    trials = [workload.trial(workload.prepare(config)[0]) for config in configs]
    settings = {"size": max(2, len(trials)), "datasets": 1, **settings}
    return run_batch(workload.run, trials, store, **settings)
