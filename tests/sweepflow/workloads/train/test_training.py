"""One table over optimizers and schedules, and training against NumPy's own recursion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow.data import DataShape
from sweepflow.models import build_network
from sweepflow.schema.data import BundledData
from sweepflow.schema.fields import traced_part
from sweepflow.schema.model import CnnModel, MlpModel
from sweepflow.storage.store import Store
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.epochs import BLOCK, CURVES, look
from sweepflow.workloads.train.network import initial_weights
from sweepflow.workloads.train.splits import shape_of, splits
from sweepflow.workloads.train.workload import ENGINE, FIGURES, until

from .conftest import SMALL, TABLE, name_of, of_table

OPTIMIZERS = get_args(TrainConfig.model_fields["optimizer"].annotation)
SCHEDULES = get_args(TrainConfig.model_fields["schedule"].annotation)


@pytest.mark.parametrize("row", TABLE, ids=name_of)
@pytest.mark.slow
def test_digits(row: Mapping[str, Any], trial: Callable[..., Any], run_trials: Callable[..., Any]) -> None:
    ran = run_trials([of_table(trial, row), of_table(trial, row, seed=1)])
    for number in (0, 1):
        record, arrays = ran.record(number), ran.arrays(number)
        assert record.status == "ok" and record.reasons == ()
        assert set(FIGURES) < set(record.figures)
        assert all(math.isfinite(value) for value in record.figures.values())
        curves = {name: array for name, array in arrays.items() if name.startswith("curve.")}
        assert set(curves) == {f"curve.{name}" for name in CURVES}
        assert all(curve.shape == (4,) and np.isnan(curve[3]) for curve in curves.values())
        curves = {name: curve[:3] for name, curve in curves.items()}
        assert all(np.isfinite(curve).all() for curve in curves.values())
        loss = curves["curve.train_loss"]
        assert loss[2] < loss[1] < loss[0]
        assert record.figures["validation_loss"] == curves["curve.validation_loss"][-1]
        assert record.figures["validation_loss"] < curves["curve.validation_loss"][0]
        assert record.figures["validation_accuracy"] == curves["curve.validation_accuracy"][-1] > 0.1
        best = int(np.argmin(curves["curve.validation_loss"]))
        assert record.figures["best_epoch"] == best + 1
        assert record.figures["best_validation_loss"] == curves["curve.validation_loss"][best]
        assert record.figures["best_validation_accuracy"] == curves["curve.validation_accuracy"][best]
        n = round(0.8 * 1438)
        assert record.figures["steps"] == 3 * (n // 128)
        assert record.figures["epochs_run"] == 3
        size = 64 * 6 + 6 * 4 + 4 * 10 + (6 + 4 + 10) * row["model"].get("bias", True)
        assert record.figures["num_params"] == size == len(arrays["state.0"])
        assert record.figures["size_mb"] == size * 4 / 1e6
    assert ran.record(0).figures["validation_loss"] != ran.record(1).figures["validation_loss"]


@pytest.mark.parametrize(
    ("optimizer", "schedule"), list(zip(OPTIMIZERS, itertools.cycle(SCHEDULES[::-1]), strict=False))
)
def test_other_pairs_can_be_built_too(
    optimizer: str, schedule: str, trial: Callable[..., Any], store: Store
) -> None:
    """Traced under strict promotion; others are compiled above. Whatever costs is on."""
    assert (optimizer, schedule) not in {(row["optimizer"], row["schedule"]) for row in TABLE}
    one = trial(
        data=SMALL,
        model=MlpModel(widths=(2,)),
        optimizer=optimizer,
        schedule=schedule,
        dropout=0.1,
        augmentation_noise=0.1,
        stop_after=2,
    )
    inputs = ENGINE.inputs([one], 1, store)
    own = {name: value[0] for name, value in inputs.own.items()}
    found = jax.eval_shape(
        ENGINE.lane(one.config), inputs.shared, own, one.traced, jax.random.key(0), np.int32(0)
    )
    assert {name.removeprefix("curve.") for name in found if name.startswith("curve.")} == set(CURVES)
    assert found["best_validation_loss"].dtype == np.float32


@pytest.mark.slow
def test_regression(trial: Callable[..., Any], run_trials: Callable[..., Any]) -> None:
    """Diabetes, and teacher-student with as many epochs as it takes to leave the mean behind."""
    ran = run_trials([trial(data=BundledData(name="diabetes"), batch_size=32, epochs=8)])
    record, curves = ran.record(), ran.arrays()
    assert record.status == "ok"
    assert not [name for name in record.figures if "accuracy" in name]
    assert set(curves) == {f"curve.{name}" for name in CURVES if "accuracy" not in name}
    # y has variance 1, so that predicting its mean has a loss of 1/2.
    assert record.figures["validation_loss"] < 0.4 < curves["curve.train_loss"][0]
    assert record.figures["test_loss"] < 0.5


@pytest.mark.slow
def test_images(trial: Callable[..., Any], run_trials: Callable[..., Any]) -> None:
    model = CnnModel(channels=(4,), dense=8)
    record = run_trials([trial(model=model, epochs=2, dropout=0.1)]).record()
    assert record.status == "ok"
    assert record.figures["num_params"] == 4 * 9 + 4 + (4 * 16 + 1) * 8 + 9 * 10
    assert record.figures["validation_accuracy"] > 0.3


@pytest.mark.slow
def test_a_linear_model_follows_numpys_own_recursion(
    trial: Callable[..., Any], run_trials: Callable[..., Any]
) -> None:
    """Full-batch gradient descent with momentum and weight decay, from the weights that it started from."""
    settings = {
        "data": SMALL,
        "model": MlpModel(widths=()),
        "batch_size": 1000,
        "dtype": "float64",
        "optimizer": "sgd",
        "epochs": 20,
    }
    rate, momentum, decay = 0.1, 0.8, 0.03
    numbers = {"learning_rate": rate, "momentum": momentum, "weight_decay": decay}
    start = until(trial(settings, **numbers), 1, 0)
    ran = run_trials([start])
    rest = run_trials([until(start, None, 1)], ran.store)
    first, curves = ran.arrays(), rest.arrays()

    rows = splits(start.config)
    x, y = np.hstack([rows["x"], np.ones((48, 1))]), rows["y"][:, 0]
    x_val, y_val = np.hstack([rows["x_validation"], np.ones((12, 1))]), rows["y_validation"][:, 0]
    w, velocity = first["state.0"], first["state.1"]
    # One step back: w = w0 - rate * velocity, and velocity = gradient(w0) + decay * w0.
    w0 = w + rate * velocity
    np.testing.assert_allclose(velocity, x.T @ (x @ w0 - y) / 48 + decay * w0, rtol=1e-12)
    train, validation = [0.5 * np.mean((x @ w0 - y) ** 2)], []
    for _ in range(1, 20):
        validation.append(0.5 * np.mean((x_val @ w - y_val) ** 2))
        train.append(0.5 * np.mean((x @ w - y) ** 2))
        velocity = momentum * velocity + x.T @ (x @ w - y) / 48 + decay * w
        w = w - rate * velocity
    validation.append(0.5 * np.mean((x_val @ w - y_val) ** 2))
    np.testing.assert_allclose(curves["curve.train_loss"], train, rtol=1e-12)
    np.testing.assert_allclose(curves["curve.validation_loss"], validation, rtol=1e-12)
    assert train[-1] < train[0] / 3


def test_initial_weights_are_uniform_and_scaled_by_their_fan_in(
    trial: Callable[..., Any],
) -> None:
    config = trial(model=MlpModel(widths=(50, 40))).config
    shape = shape_of(config)
    network = build_network(config.model, shape)
    own = jnp.asarray((50, 40), jnp.int32)
    w = np.asarray(jax.jit(lambda key: initial_weights(config, shape, network, own, key))(jax.random.key(3)))
    at = 0
    for fan_in, fan_out in ((64, 50), (50, 40), (40, 10)):
        layer = w[at : at + (fan_in + 1) * fan_out] * math.sqrt(fan_in)
        at += len(layer)
        assert np.abs(layer).max() <= 1
        assert abs(layer.mean()) < 4 / math.sqrt(3 * len(layer))
        assert abs(layer.std() - 1 / math.sqrt(3)) < 0.05
    assert at == len(w) == network.num_params
    assert len(np.unique(w)) > 0.999 * len(w), "weights are drawn apart from each other"


def test_traced_numbers_are_those_that_the_issue_names() -> None:
    assert set(traced_part(TrainConfig())) == {
        "learning_rate",
        "momentum",
        "b1",
        "b2",
        "eps",
        "weight_decay",
        "clip_norm",
        "min_learning_rate",
        "warmup_fraction",
        "plateau_factor",
        "plateau_patience",
        "dropout",
        "label_smoothing",
        "augmentation_noise",
    }


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_many_rows_are_looked_at_in_blocks(task: Any) -> None:
    """And seen as if it were at once: 2 * 2048 rows and some."""
    shape = DataShape(task=task, n=9, n_test=0, input_shape=(3,), output_dim=4)
    network = build_network(MlpModel(widths=(), bias=False), shape)
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(4, 3)), rng.normal(size=(2 * BLOCK + 37, 3))
    y = rng.integers(0, 4, len(x)).astype(float) if task == "classification" else rng.normal(size=(len(x), 4))
    seen = jax.jit(lambda w, x, y: look(network, shape, w, x, y))(w.ravel(), x, y)
    outputs = x @ w.T
    if task == "regression":
        assert float(seen["loss"]) == pytest.approx(
            0.5 * np.mean(np.sum((outputs - y) ** 2, axis=1)), rel=1e-12
        )
        assert np.isnan(seen["accuracy"])
    else:
        picked = outputs[np.arange(len(y)), y.astype(int)]
        loss = np.mean(np.log(np.exp(outputs).sum(axis=1)) - picked)
        assert float(seen["loss"]) == pytest.approx(loss, rel=1e-12)
        assert float(seen["accuracy"]) == pytest.approx(np.mean(outputs.argmax(axis=1) == y), abs=1e-12)
