"""Training by epochs: a loop that can stop after any epoch and continue from its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.data.dataset import DataShape
from sweepflow.models.loss import row_losses
from sweepflow.models.network import Network
from sweepflow.workloads.optimizer import clipped, direction
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.schedule import learning_rate

BLOCK = 2048
"""Number of rows that are evaluated together."""
CURVES = ("train_loss", "validation_loss", "validation_accuracy", "learning_rate")


class State(NamedTuple):
    """All values that the next epoch needs, and the results of the epochs so far.

    Attributes:
        w: (d,) weights, in the training dtype.
        optimizer: State of the optimizer.
        reduced: Factor by which plateau has multiplied the rate.
        stalled: int32, epochs without a new best validation loss since plateau last acted.
        best_loss: Smallest validation loss; infinite before the first epoch.
        best_accuracy: Validation accuracy of the epoch with the smallest validation loss.
        best_epoch: int32, number of that epoch, counted from 1; 0 before the first epoch.
        bad_step: int32, the first step whose loss or weights were not finite, or the last step of an epoch
            after which the validation loss was not finite; -1 if there was none.
        curves: (epochs,) each, in the training dtype; NaN for epochs that have not been run.
    """

    w: Float[Array, " d"]
    optimizer: Any
    reduced: Float[Array, ""]
    stalled: Int[Array, ""]
    best_loss: Float[Array, ""]
    best_accuracy: Float[Array, ""]
    best_epoch: Int[Array, ""]
    bad_step: Int[Array, ""]
    curves: dict[str, Float[Array, " epochs"]]


class Noise(NamedTuple):
    """The costly sources of noise that the program contains; their rates are traced."""

    dropout: bool
    augmentation: bool


def fresh_state(config: TrainConfig, w: Float[Array, " d"]) -> State:
    """Return the state before the first epoch, from initial weights."""
    zero = jnp.zeros((), jnp.int32)
    return State(
        w=w,
        optimizer=direction(config).init(w),
        reduced=jnp.ones((), w.dtype),
        stalled=zero,
        best_loss=jnp.asarray(jnp.inf, w.dtype),
        best_accuracy=jnp.asarray(jnp.nan, w.dtype),
        best_epoch=zero,
        bad_step=zero - 1,
        curves={name: jnp.full(config.epochs, jnp.nan, w.dtype) for name in CURVES},
    )


def run_epochs(
    config: TrainConfig,
    shape: DataShape,
    network: Network,
    noise: Noise,
    rows: Mapping[str, Array],
    key: PRNGKeyArray,
    state: State,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> State:
    """Run epochs `start` to `stop - 1` of a schedule made for `config.epochs`.

    Every epoch goes through the training rows in an order of its own, in steps of `batch_size` rows, and then
    evaluates the validation rows.

    Args:
        config: Configuration whose traced fields are scalars of the running program.
        shape: Shape of the training rows.
        network: Network of the program.
        noise: Sources of noise that the program draws.
        rows: Arrays x, y, x_validation, y_validation.
        key: The trial's key; the draws of an epoch depend on its number, not on where the run was resumed.
        state: State after epoch `start - 1`.
        start, stop: int32 scalars.
    """
    n = rows["y"].shape[0]
    batch_size = min(config.batch_size, n)
    steps = n // batch_size
    optimizer = direction(config)
    classes = shape.task == "classification"

    def loss(w: Array, x: Array, y: Array, key: PRNGKeyArray) -> Array:
        outputs = (
            network.apply_dropout(w, x, jnp.asarray(config.dropout, w.dtype), key)
            if noise.dropout
            else network.apply(w, x)
        )
        losses = row_losses(shape.task, outputs, y)
        if classes:  # cross-entropy against (1 - s) one-hot + s uniform
            even = -jnp.mean(jax.nn.log_softmax(outputs), axis=-1)
            losses = (1 - config.label_smoothing) * losses + config.label_smoothing * even
        return jnp.mean(losses)

    def step(state: State, number: Array, chosen: Array, epoch_key: PRNGKeyArray) -> tuple[State, Array]:
        noise_key, dropout_key = jax.random.split(jax.random.fold_in(epoch_key, number))
        x, y = rows["x"][chosen], rows["y"][chosen]
        if noise.augmentation:
            x = x + config.augmentation_noise * jax.random.normal(noise_key, x.shape, x.dtype)
        value, gradient = jax.value_and_grad(loss)(state.w, x, y, dropout_key)
        gradient = clipped(gradient, config.clip_norm)
        rate = learning_rate(config, number, steps * config.epochs, state.reduced)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its int32 step count with floats
            uphill, moments = optimizer.update(gradient, state.optimizer, state.w)
        w = optax.apply_updates(state.w, -rate.astype(state.w.dtype) * uphill)
        bad = (state.bad_step < 0) & ~(jnp.isfinite(value) & jnp.all(jnp.isfinite(w)))
        return (
            state._replace(w=w, optimizer=moments, bad_step=jnp.where(bad, number, state.bad_step)),
            value,
        )

    def epoch(number: Array, state: State) -> State:
        epoch_key = jax.random.fold_in(key, number)
        order_key, steps_key = jax.random.split(epoch_key)
        order = jax.random.permutation(order_key, jnp.arange(n, dtype=jnp.int32))
        order = order[: steps * batch_size].reshape(steps, batch_size)
        first = number * steps
        state, losses = jax.lax.scan(
            lambda state, part: step(state, first + part[0], part[1], steps_key),
            state,
            (jnp.arange(steps, dtype=jnp.int32), order),
        )
        seen = look(network, shape, state.w, rows["x_validation"], rows["y_validation"])
        found = {
            "train_loss": jnp.mean(losses),
            "validation_loss": seen["loss"],
            "validation_accuracy": seen["accuracy"],
            "learning_rate": learning_rate(config, first, steps * config.epochs, state.reduced),
        }
        better = seen["loss"] < state.best_loss
        stalled = jnp.where(better, 0, state.stalled + 1)
        acts = stalled >= jnp.asarray(config.plateau_patience, jnp.int32)
        bad = (state.bad_step < 0) & ~jnp.isfinite(seen["loss"])
        return state._replace(
            bad_step=jnp.where(bad, first + steps - 1, state.bad_step),
            reduced=jnp.where(acts, state.reduced * config.plateau_factor, state.reduced),
            stalled=jnp.where(acts, 0, stalled),
            best_loss=jnp.where(better, seen["loss"], state.best_loss),
            best_accuracy=jnp.where(better, seen["accuracy"], state.best_accuracy),
            best_epoch=jnp.where(better, number + 1, state.best_epoch),
            curves={
                name: curve.at[number].set(found[name].astype(curve.dtype))
                for name, curve in state.curves.items()
            },
        )

    return jax.lax.fori_loop(start, stop, epoch, state)


def look(
    network: Network, shape: DataShape, w: Float[Array, " d"], x: Array, y: Array
) -> dict[str, Float[Array, ""]]:
    """Return the mean loss over rows, without noise or smoothing, and the accuracy if rows have classes (else
    NaN)."""
    dtype = w.dtype
    if y.shape[0] == 0:
        return {"loss": jnp.asarray(jnp.nan, dtype), "accuracy": jnp.asarray(jnp.nan, dtype)}
    classes = shape.task == "classification"

    def each(x: Array, y: Array) -> tuple[Array, Array]:
        outputs = network.apply(w, x)
        chosen = jnp.argmax(outputs, axis=-1)
        right = chosen == y.astype(chosen.dtype) if classes else jnp.full(len(y), jnp.nan)
        return row_losses(shape.task, outputs, y), right.astype(dtype)

    if y.shape[0] <= BLOCK:
        losses, right = each(x, y)
    else:  # what a convolution makes of all rows at once is many times their size
        one = lambda row: jax.tree.map(lambda a: a[0], each(row[0][None], row[1][None]))  # noqa: E731
        losses, right = jax.lax.map(one, (x, y), batch_size=BLOCK)
    return {"loss": jnp.mean(losses).astype(dtype), "accuracy": jnp.mean(right)}
