"""A polynomial potential in place of a network: its "output" is the loss itself."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sweepflow.data.dataset import DataShape
from sweepflow.models.network import Network
from sweepflow.schema.model import PotentialModel


def potential(config: PotentialModel, shape: DataShape) -> Network:
    """L(w) = sum_i h_i w_i^2 / 2 + prod_{k_i > 0} w_i^(2 k_i), the product only where some k_i > 0.

    The first row of the data holds h, the second row holds k.
    """
    (dimension,) = shape.input_shape

    def init(key: PRNGKeyArray) -> Float[Array, " d"]:
        del key  # training a potential starts at its known minimum
        return jnp.zeros(dimension, jnp.float64)

    def apply(w: Float[Array, " d"], x: Float[Array, "2 d"]) -> Float[Array, "1 1"]:
        eigenvalues, exponents = x[0], x[1]
        crossing = exponents > 0
        # (w^2)^k needs no logarithm and has a finite gradient at 0 because every base is guarded.
        factors = jnp.where(crossing, jnp.power(jnp.where(crossing, w * w, 1), exponents), 1)
        product = jnp.where(jnp.any(crossing), jnp.prod(factors), 0)
        return (jnp.sum(eigenvalues * w * w) / 2 + product)[None, None]

    def apply_dropout(
        w: Float[Array, " d"], x: Float[Array, "2 d"], rate: Float[Array, ""], key: PRNGKeyArray
    ) -> Float[Array, "1 1"]:
        del rate, key  # there are no units
        return apply(w, x)

    return Network(num_params=dimension, init=init, apply=apply, apply_dropout=apply_dropout)
