"""Training, validation and test rows, each standardised with the statistics of the training rows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sweepflow import data
from sweepflow.data.dataset import DataShape
from sweepflow.data.split import standardize
from sweepflow.errors import ConfigError
from sweepflow.schema.data import DataConfig
from sweepflow.workloads.train.config import TrainConfig

TOLD_APART = ("bundled", "file", "mnist")
"""Kinds of real data, whose rows were standardised together with the validation rows."""


def sizes(config: TrainConfig) -> tuple[int, int]:
    """Return the numbers of training and validation rows.

    Raises:
        ConfigError: if either part would be empty, or the data cannot be trained on.
    """
    shape = data.describe(config.data)
    if shape.task == "potential":
        raise ConfigError(
            "a potential has no rows to train on",
            got=f"data.kind={config.data.kind}",
            do="choose data=digits or another data set",
        )
    validation = round(config.validation_fraction * shape.n)
    if not 0 < validation < shape.n:
        raise ConfigError(
            "the split leaves no training row" if validation else "the split leaves no validation row",
            got=f"validation_fraction={config.validation_fraction} of {shape.n} rows",
            do="choose another validation_fraction; 0.2 is usual",
        )
    return shape.n - validation, validation


def shape_of(config: TrainConfig) -> DataShape:
    """Return the data's shape, with the number of rows that are trained on as its n."""
    return data.describe(config.data).model_copy(update={"n": sizes(config)[0]})


def splits(config: TrainConfig) -> dict[str, np.ndarray]:
    """Return x, y of the training rows, x_validation, y_validation, x_test, y_test, in the training dtype.

    The validation rows are the last of the data set's training rows. These are drawn, or were shuffled by a
    seed (a fixed one for MNIST). Therefore neither part has rows of only one class because a file is sorted.

    Raises:
        DataError: for values beyond the training dtype.
    """
    n, _ = sizes(config)
    return _splits(config.data, data.describe(config.data), n, config.dtype)


@lru_cache(maxsize=16)
def _splits(config: DataConfig, shape: DataShape, n: int, dtype: str) -> dict[str, np.ndarray]:
    rows = data.load(config)
    parts = {
        "x": rows.x[:n],
        "y": rows.y[:n],
        "x_validation": rows.x[n:],
        "y_validation": rows.y[n:],
        "x_test": rows.x_test,
        "y_test": rows.y_test,
    }
    if config.kind in TOLD_APART and getattr(config, "standardize", True):
        per_feature = parts["x"].ndim == 2
        for axis in ("x", "y") if shape.task == "regression" else ("x",):
            train, validation, test = (parts[f"{axis}{part}"] for part in ("", "_validation", "_test"))
            each = per_feature or axis == "y"
            parts[axis], parts[f"{axis}_validation"] = standardize(train, validation, per_feature=each)
            _, parts[f"{axis}_test"] = standardize(train, test, per_feature=each)
    data.refuse_beyond(parts, dtype)
    return {name: np.asarray(value, dtype) for name, value in parts.items()}
