"""What every architecture must do: one row a model."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.data import DataShape, describe, load
from sweepflow.errors import ConfigError
from sweepflow.models import build_network
from sweepflow.models.loss import accuracy, mean_loss, row_losses
from sweepflow.models.mlp import hidden_width, num_params
from sweepflow.models.network import Network
from sweepflow.schema.data import BundledData, DataConfig, DeepLinearData, NormalCrossingData, QuadraticData
from sweepflow.schema.model import CnnModel, DeepLinearModel, MlpModel, ModelConfig, PotentialModel

KEY = jax.random.key(0)


def rows(*input_shape: int, out: int = 1, task: Any = "regression") -> DataShape:
    return DataShape(task=task, n=100, n_test=20, input_shape=input_shape, output_dim=out)


TABLE: dict[str, tuple[ModelConfig, DataShape, int]] = {
    "linear": (MlpModel(widths=()), rows(5), 6),
    "linear_without_bias": (MlpModel(widths=(), bias=False), rows(5, out=3), 15),
    "mlp_relu": (MlpModel(widths=(7,)), rows(4), 4 * 7 + 7 + 7 + 1),
    "mlp_tanh": (MlpModel(widths=(3, 2), activation="tanh"), rows(4, out=2), 15 + 8 + 6),
    "mlp_gelu": (MlpModel(widths=(3,), activation="gelu", bias=False), rows(4), 15),
    "mlp_silu": (MlpModel(widths=(3,), activation="silu"), rows(1), 10),
    "mlp_by_budget": (MlpModel(target_params=500, depth=2), rows(4), 5 * 19 + 20 * 19 + 20),
    "mlp_on_images": (MlpModel(widths=(2,)), rows(3, 3, out=10, task="classification"), 9 * 2 + 2 + 30),
    "deep_linear": (DeepLinearModel(widths=(4, 2)), rows(5, out=3), 20 + 8 + 6),
    "deep_linear_one_layer": (DeepLinearModel(widths=()), rows(5, out=3), 15),
    "cnn": (
        CnnModel(channels=(2, 3), dense=4),
        rows(8, 8, out=10, task="classification"),
        (9 * 2 + 2) + (9 * 2 * 3 + 3) + (3 * 2 * 2 * 4 + 4) + (4 * 10 + 10),
    ),
    "cnn_in_colour": (
        CnnModel(channels=(2,), dense=4, activation="tanh"),
        rows(3, 5, 4, out=2),
        (9 * 3 * 2 + 2) + (2 * 2 * 2 * 4 + 4) + (4 * 2 + 2),
    ),
    "potential": (PotentialModel(), rows(3, task="potential"), 3),
}


@cache
def network_and_inputs(name: str) -> tuple[Network, jax.Array]:
    """A row's network, its functions compiled, and inputs for it."""
    config, shape, _ = TABLE[name]
    network = build_network(config, shape)
    network = replace(network, init=jax.jit(network.init), apply=jax.jit(network.apply))
    size = (2, *shape.input_shape) if shape.task == "potential" else (6, *shape.input_shape)
    x = np.random.default_rng(0).normal(size=size)
    return network, jnp.asarray(np.round(np.abs(x)) if shape.task == "potential" else x)


@pytest.mark.parametrize("name", TABLE)
def test_parameters_are_one_float64_vector_of_the_stated_length(name: str) -> None:
    network, _ = network_and_inputs(name)
    w = network.init(KEY)
    assert network.num_params == TABLE[name][2]
    assert (w.shape, w.dtype) == ((network.num_params,), jnp.float64)
    assert jnp.isfinite(w).all()


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_outputs_have_the_shape_of_the_data_and_the_dtype_of_the_parameters(name: str, dtype: Any) -> None:
    network, x = network_and_inputs(name)
    shape = TABLE[name][1]
    outputs = network.apply(network.init(KEY).astype(dtype), x.astype(dtype))
    assert outputs.shape == ((1, 1) if shape.task == "potential" else (6, shape.output_dim))
    assert outputs.dtype == dtype
    assert jnp.isfinite(outputs).all()


@pytest.mark.parametrize("name", [name for name in TABLE if name != "potential"])
def test_a_row_does_not_see_its_neighbours(name: str) -> None:
    network, x = network_and_inputs(name)
    w = network.init(KEY)
    together = network.apply(w, x)
    alone = jnp.concatenate([network.apply(w, row[None]) for row in x])
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in TABLE if name != "potential"])
def test_every_parameter_takes_part(name: str) -> None:
    network, x = network_and_inputs(name)
    # Away from the initialisation, where a dead unit may hide its parameters for a time.
    noise = np.random.default_rng(2).normal(size=(32, network.num_params))
    gradient = jax.grad(lambda w: jnp.sum(jnp.sin(network.apply(w, x))))
    gradients = jax.jit(jax.vmap(gradient))(network.init(KEY) + jnp.asarray(noise))
    assert (jnp.max(jnp.abs(gradients), axis=0) > 0).all()


@pytest.mark.parametrize("name", [name for name in TABLE if name != "potential"])
def test_the_initialisation_depends_on_the_key_alone(name: str) -> None:
    network, _ = network_and_inputs(name)
    # Another network's would be the same program, with the same constants: it need not be compiled as well.
    first, second = (jax.make_jaxpr(build_network(*TABLE[name][:2]).init)(KEY) for _ in range(2))
    assert str(first) == str(second)
    for ours, theirs in zip(first.consts, second.consts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(network.init(KEY), network.init(jax.random.key(1)))


def test_building_a_network_compiles_nothing() -> None:
    with jax.log_compiles(False), jax.transfer_guard("disallow"):
        for config, shape, count in TABLE.values():
            assert build_network(config, shape).num_params == count


@given(
    target=st.integers(1, 20_000),
    depth=st.integers(1, 4),
    fan_in=st.integers(1, 70),
    fan_out=st.integers(1, 12),
    bias=st.booleans(),
)
def test_no_other_width_is_closer_to_the_budget(
    target: int, depth: int, fan_in: int, fan_out: int, bias: bool
) -> None:
    def distance(width: int) -> int:
        return abs(num_params((fan_in, *[width] * depth, fan_out), bias) - target)

    width = hidden_width(target, depth, fan_in, fan_out, bias)
    assert width >= 1
    # The count grows with the width, so it is enough to look at the neighbours.
    assert distance(width) <= min(distance(max(1, width - 1)), distance(width + 1))


@pytest.mark.parametrize(("preset", "budget"), [((500, 2), 500), ((2500, 3), 2500)])
@pytest.mark.parametrize("data", [BundledData(name="digits"), BundledData(name="diabetes")])
def test_the_presets_have_about_the_parameters_they_say(
    preset: tuple[int, int], budget: int, data: BundledData
) -> None:
    model = MlpModel(target_params=preset[0], depth=preset[1])
    assert build_network(model, describe(data)).num_params == pytest.approx(budget, rel=0.1)


@pytest.mark.parametrize(
    ("widths", "rank"), [((4, 4), 1), ((4, 3, 5), 0), ((2, 6, 6, 3), 1), ((5, 4, 3, 2, 1), 0)]
)
def test_a_deep_linear_networks_truth_gives_the_targets(widths: tuple[int, ...], rank: int) -> None:
    config = DeepLinearData(widths=widths, rank=rank, n_data=40, n_test=10, seed=3)
    data = load(config)
    network = build_network(DeepLinearModel(widths=widths[1:-1]), data.shape)
    assert data.truth is not None and data.truth.shape == (network.num_params,)
    truth = jnp.asarray(data.truth)
    np.testing.assert_allclose(network.apply(truth, jnp.asarray(data.x)), data.y, atol=1e-12)
    np.testing.assert_allclose(network.apply(truth, jnp.asarray(data.x_test)), data.y_test, atol=1e-12)
    assert mean_loss(network, "regression", truth, jnp.asarray(data.x), jnp.asarray(data.y)) < 1e-24


POTENTIALS: list[tuple[DataConfig, Any]] = [
    (QuadraticData(eigenvalues=(3.0,), dimension=1), lambda w: 1.5 * w[0] ** 2),
    (QuadraticData(eigenvalues=(1.0, 0.0, 2.0), dimension=3), lambda w: w[0] ** 2 / 2 + w[2] ** 2),
    (NormalCrossingData(exponents=(1,), dimension=1), lambda w: w[0] ** 2),
    (NormalCrossingData(exponents=(1, 2), dimension=2), lambda w: w[0] ** 2 * w[1] ** 4),
    (NormalCrossingData(exponents=(3, 1, 2), dimension=3), lambda w: w[0] ** 6 * w[1] ** 2 * w[2] ** 4),
]


@pytest.mark.parametrize(("config", "formula"), POTENTIALS)
def test_a_potential_is_its_formula_and_so_is_its_gradient(config: DataConfig, formula: Any) -> None:
    data = load(config)
    network = build_network(PotentialModel(), data.shape)
    x, y = jnp.asarray(data.x), jnp.asarray(data.y)

    @jax.jit
    @jax.vmap
    def loss_and_gradient(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda w: mean_loss(network, "potential", w, x, y))(w)

    points = np.array(list(itertools.product([-1.5, 0.0, 0.5], repeat=network.num_params)))
    losses, gradients = loss_and_gradient(jnp.asarray(points))
    for point, loss, gradient in zip(points, losses, gradients, strict=True):
        assert loss == pytest.approx(formula(point), rel=1e-12, abs=1e-300)
        step = 1e-5 * np.eye(len(point))
        finite = [(formula(point + e) - formula(point - e)) / 2e-5 for e in step]
        np.testing.assert_allclose(gradient, finite, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("config", "dtype"),
    list(zip([row[0] for row in POTENTIALS], itertools.cycle([jnp.float32, jnp.float64]), strict=False)),
)
def test_the_origin_is_a_flat_minimum_with_a_finite_gradient(config: DataConfig, dtype: Any) -> None:
    data = load(config)
    network = build_network(PotentialModel(), data.shape)
    x, y = jnp.asarray(data.x), jnp.asarray(data.y)
    origin = network.init(KEY).astype(dtype)
    np.testing.assert_array_equal(origin, np.zeros(network.num_params))

    def loss(w: jax.Array) -> jax.Array:
        return mean_loss(network, "potential", w, x, y)

    value, gradient = jax.jit(jax.value_and_grad(loss))(origin)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(network.num_params))
    if isinstance(config, QuadraticData):
        np.testing.assert_allclose(jax.jit(jax.hessian(loss))(origin), np.diag(config.eigenvalues))


def test_row_losses_are_negative_log_likelihoods() -> None:
    outputs = jnp.array([[1.0, 2.0], [0.0, -1.0]])
    squares = row_losses("regression", outputs, jnp.array([[1.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(squares, [2.0, 0.5])
    entropies = row_losses("classification", outputs, jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(entropies, [math.log(1 + math.exp(-1)), math.log(1 + math.e)])
    np.testing.assert_allclose(row_losses("potential", jnp.array([[0.25]]), jnp.zeros((1, 1))), [0.25])


def test_the_loss_is_summed_in_float64_and_its_gradient_has_the_dtype_of_w() -> None:
    shape = rows(4)
    network = build_network(MlpModel(widths=(3,)), shape)
    random = np.random.default_rng(1)
    x, y = jnp.asarray(random.normal(size=(1000, 4))), jnp.asarray(random.normal(size=(1000, 1)))
    w = jnp.asarray(random.normal(size=network.num_params))

    @jax.jit
    def loss_and_gradient(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(lambda w: mean_loss(network, "regression", w, x, y))(w)

    loss, gradient = loss_and_gradient(w.astype(jnp.float32))
    assert (loss.dtype, gradient.dtype) == (jnp.float64, jnp.float32)
    assert loss == pytest.approx(float(loss_and_gradient(w)[0]), rel=1e-6)


def test_accuracy_is_the_share_of_right_classes() -> None:
    network = build_network(MlpModel(widths=(), bias=False), rows(3, out=3, task="classification"))
    w = jnp.eye(3).ravel().astype(jnp.float64)
    x = jnp.asarray(np.eye(3)[[0, 1, 2, 2]])
    assert accuracy(network, w, x, jnp.array([0.0, 1.0, 2.0, 0.0])) == 0.75


MISMATCHES: list[tuple[ModelConfig, DataShape, list[str]]] = [
    (MlpModel(widths=(3,)), rows(2, task="potential"), ["model.kind=mlp", "'potential'", "model=potential"]),
    (PotentialModel(), rows(2), ["model.kind=potential", "'regression'", "data=quadratic"]),
    (CnnModel(), rows(64), ["needs images", "(64,)", "data=digits"]),
    (CnnModel(), rows(1, 2, 3, 4), ["needs images", "(1, 2, 3, 4)"]),
    (CnnModel(channels=(2, 2, 2, 2)), rows(8, 8), ["too small", "8x8 pixels, 4 entries", "fewer channels"]),
    (CnnModel(channels=(2, 2)), rows(1, 8, 3), ["too small", "8x3 pixels, 2 entries"]),
]


@pytest.mark.parametrize(("config", "shape", "words"), MISMATCHES)
def test_a_model_that_does_not_fit_its_data_is_refused(
    config: ModelConfig, shape: DataShape, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_network(config, shape)
    assert [word for word in words if word not in str(caught.value)] == []
