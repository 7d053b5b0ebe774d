"""A network as two pure functions of one flat parameter vector.

Samplers move a flat vector: this takes one random draw for each step instead of one for each layer, and one
array to store.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from sweepflow.models.layers import Dropout


@dataclass(frozen=True)
class Network:
    """A model architecture bound to a data set's shape.

    Attributes:
        num_params: Length d of the parameter vector.
        init: key -> float64 (d,), the layers' own initialisation.
        apply: (w (d,), x (rows, *input_shape)) -> outputs (rows, output_dim), in w's dtype.
        apply_dropout: The same, with the further arguments (rate, key): hidden dense units are dropped at
            random.
    """

    num_params: int
    init: Callable[[PRNGKeyArray], Float[Array, " d"]]
    apply: Callable[[Float[Array, " d"], Float[Array, "rows ..."]], Float[Array, "rows out"]]
    apply_dropout: Callable[
        [Float[Array, " d"], Float[Array, "rows ..."], Float[Array, ""], PRNGKeyArray],
        Float[Array, "rows out"],
    ]


def from_equinox(make: Callable[[PRNGKeyArray], eqx.Module]) -> Network:
    """Flatten an Equinox module.

    Args:
        make: Builds a module from a key. The module maps rows, and a key for dropout, to outputs; its inexact
            array leaves are the parameters, in tree order.

    Returns:
        The network; nothing is computed on a device by this call.
    """
    skeleton = eqx.filter_eval_shape(make, np.zeros(2, np.uint32))
    shapes, rest = eqx.partition(skeleton, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    leaves, treedef = jax.tree.flatten(shapes)
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    ends = list(np.cumsum(sizes))

    def init(key: PRNGKeyArray) -> Float[Array, " d"]:
        params = eqx.filter(make(key), eqx.is_inexact_array)
        return jnp.concatenate([leaf.ravel().astype(jnp.float64) for leaf in jax.tree.leaves(params)])

    def rebuild(w: Float[Array, " d"]) -> Callable[..., Array]:
        parts = [
            w[end - size : end].reshape(leaf.shape)
            for leaf, size, end in zip(leaves, sizes, ends, strict=True)
        ]
        return eqx.combine(jax.tree.unflatten(treedef, parts), rest)

    def apply(w: Float[Array, " d"], x: Float[Array, "rows ..."]) -> Float[Array, "rows out"]:
        return rebuild(w)(x)

    def apply_dropout(
        w: Float[Array, " d"], x: Float[Array, "rows ..."], rate: Float[Array, ""], key: PRNGKeyArray
    ) -> Float[Array, "rows out"]:
        module = jax.tree.map(
            lambda node: Dropout(rate) if isinstance(node, Dropout) else node,
            rebuild(w),
            is_leaf=lambda node: isinstance(node, Dropout),
        )
        return module(x, key=key)

    return Network(num_params=sum(sizes), init=init, apply=apply, apply_dropout=apply_dropout)
