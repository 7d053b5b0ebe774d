"""Training of one target: steps by optax, with a hundred checks on the full data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.data.dataset import DataShape
from sweepflow.engine.course import Course, rounded
from sweepflow.models.loss import accuracy, mean_loss
from sweepflow.models.network import Network
from sweepflow.schema.target import TrainingConfig
from sweepflow.targets.optimizer import build_optimizer

CHECKS = 100
"""Maximum number of checks of a training run on the full data: for its curve and for stopping early."""


class Trained(NamedTuple):
    """A trained network.

    Attributes:
        w0: float64 (d,).
        loss_train: float64, L_0 = L_n(w0) on all training rows, computed in float64.
        loss_test: float64; NaN where there are no test rows.
        accuracy_train: float64; NaN unless the task is classification.
        accuracy_test: float64; NaN unless the task is classification and there are test rows.
        grad_norm: float64, Euclidean norm of the gradient of L_n at w0.
        steps: Number of optimizer steps taken.
        loss_curve: float64 (checks,), L_n at each check; the last value repeats once training has stopped.
        steps_curve: int32 (checks,), steps taken at each check.
    """

    w0: Float[Array, " d"]
    loss_train: Float[Array, ""]
    loss_test: Float[Array, ""]
    accuracy_train: Float[Array, ""]
    accuracy_test: Float[Array, ""]
    grad_norm: Float[Array, ""]
    steps: Int[Array, ""]
    loss_curve: Float[Array, " checks"]
    steps_curve: Int[Array, " checks"]


class _State(NamedTuple):
    w: Float[Array, " d"]
    optimizer: Any
    step: Int[Array, ""]
    done: Bool[Array, ""]


class Training(NamedTuple):
    """A training between two checks, and the curves so far."""

    network: _State
    loss_curve: Float[Array, " checks"]
    steps_curve: Int[Array, " checks"]


def steps_and_checks(config: TrainingConfig) -> tuple[int, int]:
    """Return the number of steps before each check, and the number of checks."""
    length = max(1, -(-config.steps // CHECKS))
    return length, -(-config.steps // length)


def train(
    config: TrainingConfig,
    shape: DataShape,
    network: Network,
    traced: Mapping[str, Float[Array, ""]],
    data: Mapping[str, Float[Array, "rows ..."]],
    key: PRNGKeyArray,
) -> Course:
    """Train from the layers' initialisation, or from `data["truth"]` if start=truth. A point is a check, with
    the steps before it. The results are a `Trained`.

    Args:
        config: Static part of the training configuration.
        traced: Its traced numbers, float64 scalars.
        data: x, y, x_test, y_test and truth, float64.
        key: The trial's key; initialisation and minibatches are derived from it.
    """
    dtype = jnp.dtype(config.dtype)
    numbers = rounded(traced, dtype)
    optimizer = build_optimizer(config, numbers)
    init_key, batch_key = jax.random.split(key)
    x, y = data["x"].astype(dtype), data["y"].astype(dtype)
    rows = y.shape[0]
    batch_size = None if config.batch_size is None or config.batch_size >= rows else config.batch_size

    def loss(w: Float[Array, " d"], x: Array, y: Array) -> Float[Array, ""]:
        return mean_loss(network, shape.task, w, x, y)

    def step(state: _State, _: None) -> tuple[_State, None]:
        if batch_size is None:
            gradient = jax.grad(loss)(state.w, x, y)
        else:
            chosen = jax.random.randint(
                jax.random.fold_in(batch_key, state.step), (batch_size,), 0, rows, jnp.int32
            )
            gradient = jax.grad(loss)(state.w, x[chosen], y[chosen])
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its int32 step count with floats
            updates, moments = optimizer.update(gradient, state.optimizer, state.w)
        moved = _State(
            optax.apply_updates(state.w, updates),
            moments,
            state.step + 1,
            state.done,
        )
        stop = state.done | (state.step >= config.steps)
        return jax.tree.map(lambda old, new: jnp.where(stop, old, new), state, moved), None

    length, checks = steps_and_checks(config)

    def check(number: Int[Array, ""], run: Training) -> Training:
        state, _ = jax.lax.scan(step, run.network, None, length)
        value, gradient = jax.value_and_grad(loss)(state.w, x, y)
        small = jnp.linalg.norm(gradient) <= numbers["tolerance"]
        write = jax.lax.dynamic_update_index_in_dim
        return Training(
            state._replace(done=state.done | small),
            write(run.loss_curve, value, number, 0),
            write(run.steps_curve, state.step, number, 0),
        )

    def begin() -> Training:
        w = (data["truth"] if config.start == "truth" else network.init(init_key)).astype(dtype)
        start = _State(w, optimizer.init(w), jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        return Training(start, jnp.zeros(checks, jnp.float64), jnp.zeros(checks, jnp.int32))

    def advance(run: Training, start: Int[Array, ""], stop: Int[Array, ""]) -> Training:
        return jax.lax.fori_loop(start, stop, check, run) if checks else run

    def finish(run: Training) -> Trained:
        w0 = run.network.w.astype(jnp.float64)
        loss_train, gradient = jax.value_and_grad(loss)(w0, data["x"], data["y"])
        missing = jnp.asarray(jnp.nan, jnp.float64)
        tested, classes = shape.n_test > 0, shape.task == "classification"
        return Trained(
            w0=w0,
            loss_train=loss_train,
            loss_test=loss(w0, data["x_test"], data["y_test"]) if tested else missing,
            accuracy_train=accuracy(network, w0, data["x"], data["y"]) if classes else missing,
            accuracy_test=(
                accuracy(network, w0, data["x_test"], data["y_test"]) if classes and tested else missing
            ),
            grad_norm=jnp.linalg.norm(gradient),
            steps=run.network.step,
            loss_curve=run.loss_curve,
            steps_curve=run.steps_curve,
        )

    return Course(begin, advance, finish)
