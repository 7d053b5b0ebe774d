"""Activations and the dense stack that every architecture ends in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sweepflow.schema.model import Activation

ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


class Dropout(eqx.Module):
    """Layer that sets units to zero with probability `rate` and scales the others by 1 / (1 - rate), only
    with a key.

    Unlike Equinox's, the rate may be a traced number.
    """

    rate: Any = 0.0

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        if key is None:
            return x
        kept = jax.random.uniform(key, x.shape, x.dtype) >= self.rate
        return jnp.where(kept, x / (1 - self.rate), 0)


class DenseStack(eqx.Module):
    """Linear layers, with activation and dropout between them, on many rows at once.

    Internally, each row is a column. Layers of sampled networks are narrow and rows are many, and the CPU's
    matrix products are up to twice as fast with the long side last.
    """

    linears: tuple[eqx.nn.Linear, ...]
    dropout: Dropout
    activation: Callable[[Array], Array] | None = eqx.field(static=True)

    def __call__(
        self, x: Float[Array, "rows ..."], key: PRNGKeyArray | None = None
    ) -> Float[Array, "rows out"]:
        """Return the outputs; with a key, every row drops its own hidden units."""
        keys = None if key is None else jax.random.split(key, len(x))
        columns = jnp.reshape(x, (len(x), -1)).T
        for index, linear in enumerate(self.linears):
            if index:
                columns = self._between(columns, keys, index)
            columns = linear.weight @ columns
            if linear.bias is not None:
                columns = columns + linear.bias[:, None]
        return columns.T

    def _between(
        self, columns: Float[Array, "units rows"], keys: PRNGKeyArray | None, index: int
    ) -> Float[Array, "units rows"]:
        if self.activation is not None:
            columns = self.activation(columns)
        if keys is None:
            return columns
        drop = lambda column, key: self.dropout(column, key=jax.random.fold_in(key, index))  # noqa: E731
        return jax.vmap(drop, in_axes=(1, 0), out_axes=1)(columns, keys)


def dense_stack(
    widths: Sequence[int], activation: Callable[[Array], Array] | None, bias: bool, key: PRNGKeyArray
) -> DenseStack:
    """Linear layers of these widths, input and output included."""
    keys = jax.random.split(key, len(widths) - 1)
    linears = tuple(
        eqx.nn.Linear(fan_in, fan_out, use_bias=bias, key=own)
        for (fan_in, fan_out), own in zip(pairwise(widths), keys, strict=True)
    )
    return DenseStack(linears, Dropout(), activation)
