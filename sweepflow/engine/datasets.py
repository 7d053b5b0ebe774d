"""A batch's input arrays: each set held once, however many trials share it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array

from sweepflow import data
from sweepflow.engine.workload import Arrays, Inputs
from sweepflow.schema.data import DataConfig

ROW = "dataset"
"""Each trial's own input that says which of the shared sets is its."""


def stack_inputs(each: Sequence[Mapping[str, np.ndarray]], names: Sequence[Hashable], count: int) -> Inputs:
    """The distinct sets of a batch, stacked, and each trial's row among them.

    Args:
        each: Arrays by name, one set a trial.
        names: What identifies each trial's set; equal names, equal arrays.
        count: Rows of the stack; padded with the first set.
    """
    distinct = dict(zip(names, each, strict=True))
    chosen = [*distinct.values()]
    chosen += [chosen[0]] * (count - len(chosen))
    row = {name: i for i, name in enumerate(distinct)}
    return Inputs(
        shared={key: np.stack([arrays[key] for arrays in chosen]) for key in chosen[0]},
        own={ROW: np.array([row[name] for name in names], np.int32)},
    )


def choose_inputs(shared: Arrays, own: Arrays) -> dict[str, Array]:
    """A lane's set among the shared ones.

    The barrier keeps the compiler from treating a program with one data set in another way than one
    with several, which would round differently.
    """
    return jax.lax.optimization_barrier({name: value[own[ROW]] for name, value in shared.items()})


def stack_datasets(configs: Sequence[DataConfig], count: int) -> Inputs:
    """The data sets of a batch: x, y, x_test, y_test, float64."""
    sets = [data.load(config) for config in configs]
    arrays = [{"x": s.x, "y": s.y, "x_test": s.x_test, "y_test": s.y_test} for s in sets]
    return stack_inputs(arrays, list(configs), count)
