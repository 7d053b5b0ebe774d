"""Schedules from traced numbers against optax's with Python numbers, and plateau on losses that stall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepflow.data.dataset import DataShape
from sweepflow.models.network import Network
from sweepflow.schema.fields import traced_part, with_numbers
from sweepflow.schema.model import MlpModel
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.epochs import Noise, State, fresh_state, run_epochs
from sweepflow.workloads.train.schedule import learning_rate

STEPS = 40
SCHEDULES = ("constant", "cosine", "warmup_cosine", "plateau")


def rates(schedule: Any, steps: int = STEPS, reduced: float = 1.0, **numbers: float) -> np.ndarray:
    """The rate at steps 0 to `steps`, the end included."""
    config = TrainConfig(schedule=schedule, dtype="float64", **numbers)
    traced = {name: jnp.asarray(value) for name, value in traced_part(config).items()}
    filled = with_numbers(config, traced)
    at = jnp.arange(steps + 1, dtype=jnp.int32)
    return np.asarray(jax.vmap(lambda step: learning_rate(filled, step, steps, jnp.asarray(reduced)))(at))


def test_constant() -> None:
    np.testing.assert_array_equal(rates("constant", learning_rate=0.3, min_learning_rate=0.1), 0.3)


@pytest.mark.parametrize("least", [0.0, 0.01, 0.3])
def test_cosine_is_optaxs(least: float) -> None:
    theirs = optax.cosine_decay_schedule(0.3, STEPS, alpha=least / 0.3)
    found = rates("cosine", learning_rate=0.3, min_learning_rate=least)
    np.testing.assert_allclose(found, [float(theirs(step)) for step in range(STEPS + 1)], rtol=1e-6)
    assert found[-1] == least


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.26, 0.5, 0.99])
def test_warm_up_rises_to_the_rate_and_is_optaxs_from_there(fraction: float) -> None:
    """optax starts from a rate of 0, and wastes a step on it; ours reaches the rate one step earlier."""
    warm = round(fraction * STEPS)
    found = rates("warmup_cosine", learning_rate=0.3, min_learning_rate=0.01, warmup_fraction=fraction)
    np.testing.assert_allclose(found[:warm], 0.3 * np.arange(1, warm + 1) / max(warm, 1), rtol=1e-12)
    if warm < STEPS:
        theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, warm, STEPS, 0.01)
        np.testing.assert_allclose(
            found[warm:], [float(theirs(step)) for step in range(warm, STEPS + 1)], rtol=2e-6
        )
        assert found[warm] == 0.3
        assert found[-1] == 0.01


@settings(max_examples=40)
@given(
    st.sampled_from(SCHEDULES),
    st.floats(1e-6, 10),
    st.floats(0, 1),
    st.floats(0, 0.999),
    st.sampled_from([1, 7, 50]),
    st.floats(1e-9, 1),
)
def test_a_rate_is_between_its_least_and_its_most(
    schedule: str, rate: float, share: float, warmup: float, steps: int, reduced: float
) -> None:
    least = share * rate
    found = rates(
        schedule, steps, reduced, learning_rate=rate, min_learning_rate=least, warmup_fraction=warmup
    )
    assert (found > 0).all() or least == 0
    assert (found >= 0).all()
    assert (found <= rate * (1 + 1e-12)).all()
    warm = round(warmup * steps) if schedule == "warmup_cosine" else 0
    assert (found[warm:] >= least * (1 - 1e-12)).all()
    if schedule in ("cosine", "warmup_cosine"):
        assert (np.diff(found[warm:]) <= 1e-12 * rate).all()


def descend(validation: Callable[[jax.Array], jax.Array], epochs: int, **changes: Any) -> State:
    """One weight w that SGD of rate 1 raises by exactly 1 an epoch: the training loss is -w.

    Args:
        validation: The validation loss as a function of w.
        epochs: Of one step each.
        changes: Of the configuration.
    """
    config = TrainConfig(
        model=MlpModel(widths=()),
        optimizer="sgd",
        epochs=epochs,
        batch_size=4,
        learning_rate=1.0,
        momentum=0.0,
        dtype="float64",
        **changes,
    )
    shape = DataShape(task="potential", n=4, n_test=0, input_shape=(1,), output_dim=1)

    def apply(w: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.where(x > 0, -w[0], validation(w[0]))  # a potential: the loss is the output

    network = Network(1, lambda key: jnp.zeros(1), apply, lambda w, x, rate, key: apply(w, x))
    rows = {
        "x": jnp.ones((4, 1)),
        "y": jnp.zeros(4),
        "x_validation": jnp.zeros((2, 1)),
        "y_validation": jnp.zeros(2),
    }

    @jax.jit
    def run(numbers: Any) -> Any:
        filled = with_numbers(config, numbers)
        state = fresh_state(filled, jnp.zeros(1))
        ends = jnp.asarray(0, jnp.int32), jnp.asarray(epochs, jnp.int32)
        return run_epochs(filled, shape, network, Noise(False, False), rows, jax.random.key(0), state, *ends)

    return run({name: jnp.asarray(value) for name, value in traced_part(config).items()})


def stalling(epochs: int, patience: int, improves_until: int, **numbers: float) -> np.ndarray:
    """Rates by epoch where the validation loss gets better in the first epochs and then stays."""
    state = descend(
        lambda w: jnp.maximum(-w, -1.0 * improves_until),
        epochs,
        schedule="plateau",
        plateau_patience=patience,
        **numbers,
    )
    seen = np.asarray(state.curves["validation_loss"])
    np.testing.assert_array_equal(seen[:improves_until], -1.0 - np.arange(improves_until))
    assert int(state.best_epoch) == improves_until and int(state.bad_step) == -1
    return np.asarray(state.curves["learning_rate"])


def test_plateau_acts_after_as_many_epochs_without_a_new_best_as_its_patience() -> None:
    """The best is epoch 4; epochs 5, 6, 7 are no better, so that epoch 8 is the first at half the rate."""
    found = stalling(epochs=14, patience=3, improves_until=4)
    np.testing.assert_array_equal(found, [1.0] * 7 + [0.5] * 3 + [0.25] * 3 + [0.125])


def test_plateau_stays_above_its_least_rate() -> None:
    found = stalling(epochs=9, patience=1, improves_until=2, min_learning_rate=0.05, plateau_factor=0.2)
    np.testing.assert_allclose(found, [1.0] * 3 + [0.2] + [0.05] * 5, rtol=1e-15)


def test_a_validation_loss_that_is_not_finite_is_a_divergence_too() -> None:
    """Though every training loss and weight is finite; the best is that of an epoch before."""
    state = descend(lambda w: jnp.where(w > 2.5, jnp.inf, -w), epochs=5)
    assert int(state.bad_step) == 2, "the step after which w is 3"
    assert (int(state.best_epoch), float(state.best_loss)) == (2, -2.0)
    assert np.isfinite(state.curves["train_loss"]).all()
    np.testing.assert_array_equal(state.w, [5.0])
