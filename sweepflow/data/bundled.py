"""Real data sets that ship inside scikit-learn: no download, no licence to accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from sweepflow.data.dataset import Dataset, DataShape
from sweepflow.data.split import split_rows, split_sizes, standardize
from sweepflow.schema.data import BundledData


@dataclass(frozen=True)
class Source:
    """The facts about a bundled set that are known without reading it.

    Attributes:
        task: Task that its target column belongs to.
        rows: Number of training and test rows together.
        input_shape: Shape of one row.
        output_dim: Number of target columns, or of classes.
        loader: Name of the function in `sklearn.datasets`.
        options: Keyword arguments of that function.
    """

    task: Literal["regression", "classification"]
    rows: int
    input_shape: tuple[int, ...]
    output_dim: int
    loader: str
    options: tuple[tuple[str, bool], ...] = ()


SOURCES = {
    "digits": Source("classification", 1797, (1, 8, 8), 10, "load_digits"),
    "diabetes": Source("regression", 442, (10,), 1, "load_diabetes", (("scaled", False),)),
    "breast_cancer": Source("classification", 569, (30,), 2, "load_breast_cancer"),
}


def describe(config: BundledData) -> DataShape:
    """The shape, from the table above and the split rule: neither file nor scikit-learn is touched.

    Raises:
        DataError: for a split that leaves no training or no test row.
    """
    source = SOURCES[config.name]
    n, n_test = split_sizes(source.rows, config.test_fraction)
    return DataShape(
        task=source.task,
        n=n,
        n_test=n_test,
        input_shape=source.input_shape,
        output_dim=source.output_dim,
    )


def load(config: BundledData) -> Dataset:
    """Read, split and standardise the set.

    Features are standardised one by one. The pixels of digits, 0 to 16, are divided by 16 and then
    standardised together, as many of them are constant; a row is one channel of 8 x 8. A regression
    target is standardised; a class is its index as float64.

    Raises:
        DataError: for a split that leaves no training or no test row.
    """
    shape = describe(config)
    x, y = _read(config.name)
    train, test = split_rows(len(x), config.test_fraction, config.seed)
    x_train, x_test = standardize(x[train], x[test], per_feature=x.ndim == 2)
    if shape.task == "classification":
        return Dataset(shape=shape, x=x_train, y=y[train], x_test=x_test, y_test=y[test])
    y_train, y_test = standardize(y[train, None], y[test, None])
    return Dataset(shape=shape, x=x_train, y=y_train, x_test=x_test, y_test=y_test)


@lru_cache(maxsize=len(SOURCES))
def _read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All rows: float64 x (rows, *input_shape), float64 y (rows,)."""
    import sklearn.datasets  # takes about 2 s, and most sweeps do not need it

    source = SOURCES[name]
    loader: Callable[..., Any] = getattr(sklearn.datasets, source.loader)
    bunch = loader(**dict(source.options))
    x = np.asarray(bunch.data, dtype=np.float64).reshape(-1, *source.input_shape)
    if name == "digits":
        x = x / 16.0
    return x, np.asarray(bunch.target, dtype=np.float64)
