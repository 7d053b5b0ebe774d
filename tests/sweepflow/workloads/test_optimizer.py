"""Optimizers with traced numbers against optax's own with Python numbers, and the clipping of gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.schema.fields import traced_part, with_numbers
from sweepflow.workloads.optimizer import OptimizerConfig, clipped, direction

RATE = 3e-3
STEPS = 60
NUMBERS = {"learning_rate": RATE, "momentum": 0.83, "b1": 0.87, "b2": 0.97, "eps": 1e-5}
DECAY = 0.02

THEIRS: list[tuple[dict[str, Any], Callable[[], optax.GradientTransformation]]] = [
    ({"optimizer": "sgd"}, lambda: optax.sgd(RATE, 0.83)),
    ({"optimizer": "sgd", "nesterov": True}, lambda: optax.sgd(RATE, 0.83, nesterov=True)),
    ({"optimizer": "sgd", "momentum": 0.0}, lambda: optax.sgd(RATE)),
    ({"optimizer": "adam"}, lambda: optax.adam(RATE, 0.87, 0.97, 1e-5)),
    (
        {"optimizer": "adamw", "weight_decay": DECAY},
        lambda: optax.adamw(RATE, 0.87, 0.97, 1e-5, weight_decay=DECAY),
    ),
    ({"optimizer": "rmsprop"}, lambda: optax.rmsprop(RATE, 0.97, 1e-5, bias_correction=True)),
    ({"optimizer": "lion", "weight_decay": DECAY}, lambda: optax.lion(RATE, 0.87, 0.97, weight_decay=DECAY)),
    (
        {"optimizer": "adam", "weight_decay": DECAY},
        lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.adam(RATE, 0.87, 0.97, 1e-5)),
    ),
    (
        {"optimizer": "rmsprop", "weight_decay": DECAY},
        lambda: optax.chain(
            optax.add_decayed_weights(DECAY), optax.rmsprop(RATE, 0.97, 1e-5, bias_correction=True)
        ),
    ),
    (
        {"optimizer": "sgd", "weight_decay": DECAY},
        lambda: optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE, 0.83)),
    ),
]


def gradient(w: jax.Array, step: jax.Array) -> jax.Array:
    """Of a noisy quadratic bowl."""
    curvature = jnp.asarray([1.0, 10.0, 0.1, 3.0])
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), step), (4,), w.dtype)
    return curvature * w + 0.3 * noise


def path(update: Callable[..., Any], state: Any) -> Any:
    def step(carry: Any, number: Any) -> Any:
        w, state = carry
        with jax.numpy_dtype_promotion("standard"):
            change, state = update(gradient(w, number), state, w)
        return (w + change, state), w + change

    start = jnp.asarray([1.0, -2.0, 3.0, 0.5])
    return jax.lax.scan(step, (start, state(start)), jnp.arange(STEPS, dtype=jnp.int32))[1]


@cache
def program(optimizer: Any, nesterov: bool) -> Any:
    """Our path as a function of the traced numbers: one for all rows that differ in nothing else."""
    config = OptimizerConfig(optimizer=optimizer, nesterov=nesterov)

    @jax.jit
    def ours(numbers: Any) -> Any:
        filled = with_numbers(config, numbers)
        direct = direction(filled)

        def update(gradient: Any, state: Any, w: Any) -> Any:
            uphill, state = direct.update(gradient, state, w)
            return -filled.learning_rate * uphill, state

        return path(update, direct.init)

    return ours


@pytest.mark.parametrize(("settings", "theirs"), THEIRS, ids=[str(row[0]) for row in THEIRS])
def test_a_path_is_optaxs(
    settings: dict[str, Any], theirs: Callable[[], optax.GradientTransformation]
) -> None:
    config = OptimizerConfig(**{**NUMBERS, **settings})

    @jax.jit
    def optaxs() -> Any:
        optimizer = theirs()
        return path(optimizer.update, optimizer.init)

    numbers = {name: jnp.asarray(value) for name, value in traced_part(config).items()}
    mine = np.asarray(program(config.optimizer, config.nesterov)(numbers))
    reference = np.asarray(optaxs())
    assert mine.shape == (STEPS, 4)
    np.testing.assert_allclose(mine, reference, rtol=1e-10, atol=1e-12)
    assert np.abs(mine[-1] - mine[0]).max() > 0.01, "it moves"


vectors = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=5).map(np.array)


@given(vectors, st.floats(1e-3, 1e3))
def test_clipping(vector: np.ndarray, most: float) -> None:
    """Shorter ones are left as they are, longer ones keep their direction."""
    found = np.asarray(clipped(jnp.asarray(vector), most))
    norm = np.linalg.norm(vector)
    if norm <= most:
        np.testing.assert_array_equal(found, vector)
    else:
        assert np.linalg.norm(found) == pytest.approx(most, rel=1e-9)
        np.testing.assert_allclose(found, vector * (most / norm), rtol=1e-9, atol=1e-300)


@given(vectors)
def test_a_norm_of_zero_does_not_clip(vector: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(clipped(jnp.asarray(vector), 0.0)), vector)
