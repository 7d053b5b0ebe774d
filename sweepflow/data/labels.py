"""Class labels of any spelling, as indices 0 to K-1."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sweepflow.errors import DataError


def class_indices(labels: np.ndarray, where: str) -> tuple[Float[np.ndarray, " rows"], int]:
    """Number the classes in sorted order.

    Args:
        labels: (rows,) integers (Python's too), whole floats, booleans or strings.
        where: Name of the labels in an error, such as `column 'kind'`.

    Returns:
        The index of each row's class as float64, and the number of classes.

    Raises:
        DataError: for labels that are not whole numbers or strings, and for a single class.
    """
    if labels.dtype.kind == "f":
        fractional = np.flatnonzero(labels != np.floor(labels))
        if fractional.size:
            raise DataError(
                f"class labels must be whole numbers: {where}",
                got=f"{labels[fractional[0]]:g} in row {fractional[0] + 1}, "
                f"and {fractional.size} such labels in all",
                allowed="integers, in any set of values, or strings in a CSV",
                do="number the classes, or set data.task=regression",
            )
    names, indices = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"classification needs two classes or more: {where}",
            got=f"only {names[0]} in {len(labels)} rows",
            do="give rows of other classes too, or name another data.target_column",
        )
    return indices.astype(np.float64), len(names)
