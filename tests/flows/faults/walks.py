"""A workload that a test can follow: random walks, with a line in a log of the store where a batch begins.

A walk with a negative drift ends its process as the out-of-memory killer would.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

import sweepflow
from sweepflow.engine.workload import Inputs, Trial, Workload
from sweepflow.storage.store import Store
from sweepflow.workloads.function import function_workload

VERSION = 1
VECTOR_WIDTH = 1
LOG = "walks.log"


class Config(sweepflow.Config):
    """One walk."""

    steps: int = 100_000
    seed: sweepflow.Content[int] = 0
    drift: sweepflow.Traced[float] = 0.0


def run(config: Any, inputs: Mapping[str, Array], key: PRNGKeyArray) -> dict[str, Array]:
    """Where a walk ends, and 100 points of it."""

    def step(x: Array, number: Array) -> tuple[Array, Array]:
        x = 0.999 * x + config.drift + jax.random.normal(jax.random.fold_in(key, number), dtype=x.dtype)
        return x, x

    end, path = jax.lax.scan(step, jnp.zeros((), jnp.float32), jnp.arange(config.steps))
    return {"loss": end, "path": path[:: config.steps // 100]}


_PLAIN = function_workload(sys.modules[__name__], __file__)


def _inputs(trials: Sequence[Trial[Any]], datasets: int, store: Store) -> Inputs:
    begun = {
        "pid": os.getpid(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "ids": [trial.id for trial in trials],
    }
    line = f"{json.dumps(begun)}\n".encode()
    log = os.open(store.root / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line)  # in one piece: several processes write
    os.close(log)
    if any(trial.config.drift < 0 for trial in trials):
        os.kill(os.getpid(), signal.SIGKILL)
    assert isinstance(_PLAIN.run, Workload)
    return _PLAIN.run.inputs(trials, datasets, store)


assert isinstance(_PLAIN.run, Workload)
WORKLOAD = dataclasses.replace(_PLAIN, run=dataclasses.replace(_PLAIN.run, inputs=_inputs))
