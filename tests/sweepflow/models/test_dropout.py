"""Dropout of hidden dense units, with a rate that may be traced."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow.data import DataShape
from sweepflow.models import build_network
from sweepflow.models.layers import Dropout
from sweepflow.models.network import Network
from sweepflow.schema.model import CnnModel, DeepLinearModel, MlpModel, ModelConfig, PotentialModel

KEY = jax.random.key(0)
UNITS = 20_000


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_units_are_dropped_at_the_rate_and_the_mean_stays(rate: float) -> None:
    x = jnp.full(UNITS, 3.0)
    found = np.asarray(jax.jit(lambda rate: Dropout(rate)(x, key=KEY))(rate))
    dropped = (found == 0).mean()
    assert abs(dropped - rate) < 5 * np.sqrt(rate * (1 - rate) / UNITS)
    np.testing.assert_allclose(found[found != 0], 3 / (1 - rate), rtol=1e-12)


def test_without_a_key_or_a_rate_nothing_is_dropped() -> None:
    x = jnp.arange(1.0, 9.0)
    np.testing.assert_array_equal(Dropout(0.7)(x), x)
    np.testing.assert_array_equal(Dropout(0.0)(x, key=KEY), x)


def weights(network: Network) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(scale=0.5, size=network.num_params))


def shape(*input_shape: int, task: Any = "regression") -> DataShape:
    return DataShape(task=task, n=100, n_test=20, input_shape=input_shape, output_dim=3)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (MlpModel(widths=(40, 30)), shape(4)),
        (CnnModel(channels=(3,), dense=30), shape(8, 8)),
        (DeepLinearModel(widths=(40,)), shape(4)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_network(model: ModelConfig, data: DataShape) -> None:
    network = build_network(model, data)
    w = weights(network)
    x = jnp.ones((50, *data.input_shape))
    drop = jax.jit(network.apply_dropout)
    plain = np.asarray(jax.jit(network.apply)(w, x))
    np.testing.assert_allclose(drop(w, x, jnp.asarray(0.0), KEY), plain, rtol=1e-12)
    found = np.asarray(drop(w, x, jnp.asarray(0.5), KEY))
    assert found.shape == plain.shape and found.dtype == plain.dtype
    assert len(np.unique(found[:, 0])) > 25, "every row drops units of its own"
    np.testing.assert_array_equal(found, drop(w, x, jnp.asarray(0.5), KEY))
    assert (found != drop(w, x, jnp.asarray(0.5), jax.random.key(1))).any()


def test_an_mlp_drops_after_its_activation() -> None:
    """One hidden layer of relu: the output is the bias plus whole units, or their doubles."""
    network = build_network(MlpModel(widths=(3,)), shape(2))
    w = weights(network)
    x = jnp.asarray([[1.5, -0.5]])
    n = np.asarray(w)
    first, bias, last, offset = n[:6].reshape(3, 2), n[6:9], n[9:18].reshape(3, 3), n[18:]
    hidden = np.maximum(first @ np.asarray(x[0]) + bias, 0)
    possible = [
        offset + last @ (2 * hidden * np.array([a, b, c])) for a in (0, 1) for b in (0, 1) for c in (0, 1)
    ]
    drop = jax.jit(network.apply_dropout)
    seen = set()
    for seed in range(40):
        found = np.asarray(drop(w, x, jnp.asarray(0.5), jax.random.key(seed))[0])
        apart = [np.abs(found - one).max() for one in possible]
        assert min(apart) < 1e-12
        seen.add(int(np.argmin(apart)))
    assert len(seen) > 1


def test_a_potential_has_no_units() -> None:
    data = DataShape(task="potential", n=1, n_test=0, input_shape=(2,), output_dim=1)
    network = build_network(PotentialModel(), data)
    w, x = jnp.asarray([1.0, 2.0]), jnp.asarray([[1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(network.apply_dropout(w, x, jnp.asarray(0.5), KEY), network.apply(w, x))
