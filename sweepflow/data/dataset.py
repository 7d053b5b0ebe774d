"""The common form of all data sets: the shape, known before loading, and the arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from sweepflow.errors import DataError
from sweepflow.schema.data import FileData, MnistData
from sweepflow.schema.fields import Config

Task = Literal["regression", "classification", "potential"]


class DataShape(Config):
    """All that the compiled program needs to know about a data set."""

    task: Task
    n: int
    """Number of training rows; the n of n L_n."""
    n_test: int
    input_shape: tuple[int, ...]
    """Shape of one row; for a potential, (number of coordinates,)."""
    output_dim: int
    """Width of the network's output: target columns, or classes."""

    @property
    def rows(self) -> int:
        """Stored training rows: n, or 1 for a potential, whose n is only a number."""
        return 1 if self.task == "potential" else self.n


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test rows.

    Attributes:
        shape: Shape that the program is compiled for.
        x: float64, (n, *input_shape). For a potential, which has no rows: (2, coordinates), its
            coefficients: quadratic ones h_i in row 0, exponents k_i in row 1, of
            L(w) = sum_i h_i w_i^2 / 2 + [any k_i > 0] prod_{k_i > 0} w_i^(2 k_i).
        y: float64, (n, output_dim) targets; for classification (n,) class indices as float64;
            for a potential (1, 1) zeros.
        x_test: as `x`, n_test rows.
        y_test: as `y`, n_test rows.
        truth: The known minimising parameter as a flat vector in the model's own order, where there
            is one; else None.
    """

    shape: DataShape
    x: Float[np.ndarray, "n ..."]
    y: Float[np.ndarray, "n ..."]
    x_test: Float[np.ndarray, "n_test ..."]
    y_test: Float[np.ndarray, "n_test ..."]
    truth: Float[np.ndarray, " d"] | None = None


def check_pinned(config: FileData | MnistData, sha256: str) -> None:
    """Check that the data match the digest in a configuration, if it has one.

    Raises:
        DataError: if the data have changed.
    """
    if config.sha256 and config.sha256.lower() != sha256:
        raise DataError(
            f"the data at {config.path!r} have changed",
            got=f"SHA-256 {sha256}",
            allowed=f"SHA-256 {config.sha256}, as the configuration says",
            do="restore them, or leave data.sha256 out to take them as they are, in new trials",
        )
