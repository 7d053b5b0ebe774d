"""Potentials of known learning coefficient, given by their coefficients instead of by rows.

Both are one polynomial of the coordinates w,

    L(w) = 1/2 sum_i h_i w_i^2 + [any k_i > 0] prod_{k_i > 0} w_i^(2 k_i),

so that one program serves both. `x` has shape (2, dimension): row 0 holds the h_i, zero for a normal
crossing; row 1 holds the k_i, zero for a quadratic. L has its minimum 0 at w = 0, where the learning
coefficient of the normal crossing is min_i 1/(2 k_i) (Watanabe 2009), and
that of the quadratic is half the number of h_i > 0.
"""

from __future__ import annotations

import numpy as np

from sweepflow.data.dataset import Dataset, DataShape
from sweepflow.schema.data import NormalCrossingData, QuadraticData


def describe(config: NormalCrossingData | QuadraticData) -> DataShape:
    """The shape, from the configuration alone: n rows are represented, none is stored."""
    return DataShape(
        task="potential",
        n=config.n_data,
        n_test=0,
        input_shape=(config.dimension,),
        output_dim=1,
    )


def load(config: NormalCrossingData | QuadraticData) -> Dataset:
    """The coefficients as `x`, (2, dimension); `truth` is the origin; there are no test rows."""
    coefficients = np.zeros((2, config.dimension))
    if isinstance(config, QuadraticData):
        coefficients[0] = config.eigenvalues
    else:
        coefficients[1] = config.exponents
    return Dataset(
        shape=describe(config),
        x=coefficients,
        y=np.zeros((1, 1)),
        x_test=np.zeros((0, config.dimension)),
        y_test=np.zeros((0, 1)),
        truth=np.zeros(config.dimension),
    )
