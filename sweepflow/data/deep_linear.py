"""Data of a deep linear network at the most singular point of its true set."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from sweepflow.data.dataset import Dataset, DataShape
from sweepflow.data.streams import stream
from sweepflow.schema.data import DeepLinearData

SINGULAR_VALUES = (0.5, 1.5)
"""Range of the non-zero singular values of the whole product."""


def describe(config: DeepLinearData) -> DataShape:
    """The shape, from the configuration alone."""
    return DataShape(
        task="regression",
        n=config.n_data,
        n_test=config.n_test,
        input_shape=(config.widths[0],),
        output_dim=config.widths[-1],
    )


def load(config: DeepLinearData) -> Dataset:
    """Draw the rows: y = W_L ... W_1 x + noise_scale e, with x and e standard normal.

    The training inputs are whitened exactly, X^T X / n = I, if n is at least the input width. The
    closed form for λ is that of the population loss; with whitened inputs the noiseless empirical loss
    is the population loss, |W_L ... W_1 - W|^2 in the same units, and a comparison with the closed form
    carries no sampling noise from x. Test inputs are plain N(0, I).

    Returns:
        The data set; `truth` is W_1, ..., W_L flattened row-major, one after the other, each of shape
        (H_{s+1}, H_s). It minimises the population loss, and with noise_scale=0 the empirical loss.
    """
    matrices = true_matrices(config)
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product

    def rows(part: str, count: int, white: bool) -> tuple[np.ndarray, np.ndarray]:
        x = stream(config.seed, f"deep_linear/inputs/{part}").standard_normal((count, config.widths[0]))
        x = whiten(x) if white else x
        noise = stream(config.seed, f"deep_linear/noise/{part}").standard_normal((count, config.widths[-1]))
        return x, x @ product.T + config.noise_scale * noise

    x, y = rows("train", config.n_data, white=config.n_data >= config.widths[0])
    x_test, y_test = rows("test", config.n_test, white=False)
    truth = np.concatenate([matrix.ravel() for matrix in matrices])
    return Dataset(shape=describe(config), x=x, y=y, x_test=x_test, y_test=y_test, truth=truth)


def true_matrices(config: DeepLinearData) -> list[Float[np.ndarray, "fan_out fan_in"]]:
    """Return W_1, ..., W_L, each of rank r, as is every partial product: W_s = U_{s+1} D^{1/L} U_s^T.

    U_s is (H_s, r) with orthonormal columns, drawn uniformly and shared by neighbouring layers, so the
    whole product is U_{L+1} D U_1^T: its singular values D are drawn from SINGULAR_VALUES. Other
    factorisations of the same product can give the single matrices a higher rank; those points of the
    true set are less singular than this one, where Aoyagi (2024) gives the learning coefficient.
    """
    depth = len(config.widths) - 1
    frames = [_frame(config, layer, width) for layer, width in enumerate(config.widths)]
    singular = stream(config.seed, "deep_linear/singular").uniform(*SINGULAR_VALUES, size=config.rank)
    balanced = singular ** (1.0 / depth)
    return [(after * balanced) @ before.T for before, after in pairwise(frames)]


def _frame(config: DeepLinearData, layer: int, width: int) -> Float[np.ndarray, "width rank"]:
    """Orthonormal columns, uniform on the Stiefel manifold: QR of a Gaussian matrix, diag(R) > 0."""
    rng = stream(config.seed, f"deep_linear/frame/{layer}")
    q, r = np.linalg.qr(rng.standard_normal((width, config.rank)))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def whiten(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """The nearest rows with X^T X / n = I: sqrt(n) times the polar factor of X; needs n >= d."""
    left, _, right = np.linalg.svd(x, full_matrices=False)
    return np.sqrt(len(x)) * (left @ right)
