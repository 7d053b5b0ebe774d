"""The loss L_n: mean negative log-likelihood a row, in nats, up to a constant."""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sweepflow.data.dataset import Task
from sweepflow.models.network import Network


def row_losses(
    task: Task, outputs: Float[Array, "rows out"], y: Float[Array, "rows ..."]
) -> Float[Array, " rows"]:
    """Loss of each row.

    regression: half the squared error summed over outputs (a Gaussian of unit variance);
    classification: cross-entropy of the softmax, `y` holding class indices;
    potential: the output itself.
    """
    match task:
        case "regression":
            return 0.5 * jnp.sum(jnp.square(outputs - y), axis=-1)
        case "classification":
            return optax.softmax_cross_entropy_with_integer_labels(outputs, y.astype(jnp.int32))
        case "potential":
            return outputs[:, 0]


def mean_loss(
    network: Network,
    task: Task,
    w: Float[Array, " d"],
    x: Float[Array, "rows ..."],
    y: Float[Array, "rows ..."],
) -> Float[Array, ""]:
    """Mean row loss, summed in float64 whatever the dtype of w, so that small rises above L_0 are not
    lost."""
    losses = row_losses(task, network.apply(w, x.astype(w.dtype)), y.astype(w.dtype))
    return jnp.mean(losses.astype(jnp.float64))


def accuracy(
    network: Network, w: Float[Array, " d"], x: Float[Array, "rows ..."], y: Float[Array, " rows"]
) -> Float[Array, ""]:
    """Share of rows whose largest output is their class."""
    predicted = jnp.argmax(network.apply(w, x.astype(w.dtype)), axis=-1)
    return jnp.mean((predicted == y.astype(predicted.dtype)).astype(jnp.float64))
