"""A workload whose trials begin to compute when a test lets them: each waits while its gate is there."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, PRNGKeyArray

import sweepflow
from sweepflow.engine.workload import Inputs, Trial, Workload
from sweepflow.storage.store import Store
from sweepflow.workloads.function import function_workload

VERSION = 1
VECTOR_WIDTH = 1
LOG = "walks.log"
"""As that of `walks.py`, for `Lab.begun`."""


class Config(sweepflow.Config):
    """One trial; its gate has its number."""

    number: sweepflow.Traced[int] = 0


def run(config: Any, inputs: Mapping[str, Array], key: PRNGKeyArray) -> dict[str, Array]:
    """A random number, and its gate's."""
    return {"loss": config.number + jax.random.uniform(key)}


def gate(root: Path, number: int) -> Path:
    """The file that holds a trial back, in a store."""
    return root / f"gate {number}"


_PLAIN = function_workload(sys.modules[__name__], __file__)


def _inputs(trials: Sequence[Trial[Any]], datasets: int, store: Store) -> Inputs:
    begun = {
        "pid": os.getpid(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "ids": [trial.id for trial in trials],
    }
    log = os.open(store.root / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{json.dumps(begun)}\n".encode())  # in one piece: several processes write
    os.close(log)
    while any(gate(store.root, trial.config.number).exists() for trial in trials):
        time.sleep(0.05)
    assert isinstance(_PLAIN.run, Workload)
    return _PLAIN.run.inputs(trials, datasets, store)


assert isinstance(_PLAIN.run, Workload)
WORKLOAD = dataclasses.replace(_PLAIN, run=dataclasses.replace(_PLAIN.run, inputs=_inputs))
