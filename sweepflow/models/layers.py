"""Activations and the dense stack that every architecture ends in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from sweepflow.schema.model import Activation

ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


class Dropout(eqx.Module):
    """Sets units to zero with probability `rate` and scales the others by 1 / (1 - rate); only with a key.

    Unlike Equinox's, the rate may be a traced number.
    """

    rate: Any = 0.0

    def __call__(self, x: Array, *, key: PRNGKeyArray | None = None) -> Array:
        if key is None:
            return x
        kept = jax.random.uniform(key, x.shape, x.dtype) >= self.rate
        return jnp.where(kept, x / (1 - self.rate), 0)


def dense_stack(
    widths: Sequence[int], activation: Callable[[Array], Array] | None, bias: bool, key: PRNGKeyArray
) -> eqx.nn.Sequential:
    """Linear layers of these widths (input and output included), activation and dropout between them."""
    keys = jax.random.split(key, len(widths) - 1)
    layers: list[Callable[..., Any]] = []
    for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if index:
            layers += [eqx.nn.Lambda(activation), Dropout()] if activation is not None else [Dropout()]
        layers.append(eqx.nn.Linear(fan_in, fan_out, use_bias=bias, key=keys[index]))
    return eqx.nn.Sequential(layers)
