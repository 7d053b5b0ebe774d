"""A batch's input arrays: each data set is held once, even if many trials share it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Array

from sweepflow import data
from sweepflow.engine.workload import Arrays, Inputs
from sweepflow.schema.data import DataConfig

ROW = "dataset"
"""Name of each trial's own input that gives its row among the shared sets."""


def stack_inputs(each: Sequence[Mapping[str, np.ndarray]], names: Sequence[Hashable], count: int) -> Inputs:
    """Return the distinct sets of a batch, stacked, and each trial's row among them.

    Args:
        each: Arrays by name, one set for each trial.
        names: Identifier of each trial's set; equal names mean equal arrays.
        count: Number of rows of the stack, which is padded with the first set.
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
    """Return a lane's set from the shared sets.

    The barrier makes the compiler treat a program with one data set like a program with several. Otherwise
    the two would round differently.
    """
    return jax.lax.optimization_barrier({name: value[own[ROW]] for name, value in shared.items()})


def stack_datasets(configs: Sequence[DataConfig], count: int) -> Inputs:
    """Return the data sets of a batch: x, y, x_test, y_test, float64."""
    sets = [data.load(config) for config in configs]
    arrays = [{"x": s.x, "y": s.y, "x_test": s.x_test, "y_test": s.y_test} for s in sets]
    return stack_inputs(arrays, list(configs), count)
