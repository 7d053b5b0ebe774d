"""Targets against what NumPy makes of the same data and weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow.data import describe, load
from sweepflow.errors import ConfigError
from sweepflow.estimates.plan import make_plan
from sweepflow.models import build_network
from sweepflow.schema.data import BundledData, DeepLinearData, QuadraticData, TeacherStudentData
from sweepflow.schema.fields import traced_part
from sweepflow.schema.model import DeepLinearModel, MlpModel, PotentialModel
from sweepflow.targets.train import steps_and_checks, train

LINEAR = MlpModel(widths=())


def trained(swept: Any, number: int = 0) -> tuple[Any, dict[str, np.ndarray]]:
    record = swept.targets[number]
    return record, swept.store.arrays(record.id)


def forward(w: np.ndarray, x: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """A tanh MLP from a flat vector: weight (out, in), then bias, layer by layer."""
    out, at = x.reshape(len(x), -1), 0
    for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
        weight = w[at : at + fan_in * fan_out].reshape(fan_out, fan_in)
        at += fan_in * fan_out
        bias = w[at : at + fan_out]
        at += fan_out
        out = (np.tanh(out) if number else out) @ weight.T + bias
    assert at == len(w)
    return out


def test_linear_regression_reaches_least_squares_and_can_stop_before(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    data = TeacherStudentData(n_data=50, n_test=20, input_dim=3, output_dim=2)
    settings = {"model": LINEAR, "data": data, "optimizer": "sgd", "schedule": "constant", "steps": 1000}
    swept = run_sweep(
        [small(tolerance=tolerance, learning_rate=0.1, **settings) for tolerance in (0.0, 1e-3)],
        targets_only=True,
    )
    rows = load(data)
    design = np.hstack([rows.x, np.ones((50, 1))])
    solution, *_ = np.linalg.lstsq(design, rows.y, rcond=None)
    record, arrays = trained(swept)
    np.testing.assert_allclose(arrays["w0"][:6].reshape(2, 3), solution[:3].T, atol=1e-8)
    np.testing.assert_allclose(arrays["w0"][6:], solution[3], atol=1e-8)
    assert record.figures["loss_train"] == pytest.approx(
        0.5 * np.mean(np.sum((design @ solution - rows.y) ** 2, axis=1)), rel=1e-12
    )
    assert record.figures["steps"] == 1000
    assert record.status == "ok"
    assert record.figures["converged"]
    assert arrays["loss_curve"].shape == arrays["steps_curve"].shape == (100,)
    np.testing.assert_array_equal(arrays["steps_curve"], np.arange(10, 1001, 10))

    early, stopped = trained(swept, 1)
    steps = early.figures["steps"]
    assert steps < 500
    assert steps % 10 == 0
    assert early.figures["grad_norm"] <= 1e-3
    at = steps // 10 - 1
    assert stopped["steps_curve"].max() == steps
    assert (np.diff(stopped["steps_curve"])[:at] == 10).all()
    assert (np.diff(stopped["loss_curve"])[:at] != 0).all()
    assert len(set(stopped["loss_curve"][at:])) == 1, "it goes on"
    assert stopped["loss_curve"][-1] == pytest.approx(early.figures["loss_train"], rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_figures_of_a_regression(
    dtype: str, small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    """w0 and L0 are float64 and exact whatever the training was done in."""
    config = small(model=MlpModel(widths=(4, 3), activation="tanh"), dtype=dtype)
    record, arrays = trained(run_sweep([config], targets_only=True))
    assert arrays["w0"].dtype == np.float64
    rounded = arrays["w0"].astype(np.float32).astype(np.float64)
    assert (rounded == arrays["w0"]).all() == (dtype == "float32")
    rows = load(config.data)
    for name, x, y in (("loss_train", rows.x, rows.y), ("loss_test", rows.x_test, rows.y_test)):
        residual = forward(arrays["w0"], x, (2, 4, 3, 1)) - y
        assert record.figures[name] == pytest.approx(0.5 * np.mean(residual**2), rel=1e-13)
    assert record.figures["num_params"] == 12 + 15 + 4
    assert record.figures["accuracy_train"] is None

    def loss(w: np.ndarray) -> float:
        return float(0.5 * np.mean((forward(w, rows.x, (2, 4, 3, 1)) - rows.y) ** 2))

    slopes = [
        (loss(arrays["w0"] + 1e-6 * unit) - loss(arrays["w0"] - 1e-6 * unit)) / 2e-6 for unit in np.eye(31)
    ]
    assert record.figures["grad_norm"] == pytest.approx(np.linalg.norm(slopes), rel=1e-5)


def test_figures_of_a_classification(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    data = BundledData(name="digits")
    config = small(
        model=MlpModel(widths=(8,), activation="tanh"),
        data=data,
        rows_a_step=64,
        steps=60,
        learning_rate=0.03,
    )
    record, arrays = trained(run_sweep([config], targets_only=True))
    rows = load(data)
    for part, x, y in (("train", rows.x, rows.y), ("test", rows.x_test, rows.y_test)):
        logits = forward(arrays["w0"], x, (64, 8, 10))
        classes = y.astype(int)
        top = logits.max(axis=1, keepdims=True)
        logsumexp = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
        crossentropy = np.mean(logsumexp - logits[np.arange(len(y)), classes])
        assert record.figures[f"loss_{part}"] == pytest.approx(crossentropy, rel=1e-12)
        accuracy = record.figures[f"accuracy_{part}"]
        assert accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == classes), abs=1e-12)
        assert 0.5 < accuracy < 1.0
    assert record.status == "flagged"
    assert any(reason.startswith("gradient norm") for reason in record.reasons)
    assert not record.figures["converged"]


def test_minibatches(small: Callable[..., Any]) -> None:
    """Drawn by the key; as many rows as there are, or more, mean all of them, whatever the key."""
    config = small()
    shape, rows = describe(config.data), load(config.data)
    arrays = {name: jnp.asarray(getattr(rows, name)) for name in ("x", "y", "x_test", "y_test")}
    network = build_network(config.model, shape)
    start = network.init(jax.random.key(7))

    @partial(jax.jit, static_argnums=0)
    def curve(batch_size: int | None, seed: int) -> Any:
        training = config.target.model_copy(update={"batch_size": batch_size, "start": "truth"})
        traced = {name: jnp.asarray(value) for name, value in traced_part(training).items()}
        data = {**arrays, "truth": start}  # one start for all
        run = train(training, shape, network, traced, data, jax.random.key(seed))
        return run.in_one_go(steps_and_checks(training)[1]).loss_curve

    full = curve(None, 0)
    np.testing.assert_array_equal(full, curve(30, 1))
    few, other = curve(8, 0), curve(8, 1)
    np.testing.assert_array_equal(few, curve(8, 0))
    assert (few != full).all()
    assert (few != other).all()
    np.testing.assert_allclose(few[-1], full[-1], rtol=0.5)


def test_start_at_the_truth(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    data = DeepLinearData(widths=(4, 3, 4), rank=2, n_data=40, n_test=10)
    settings = {"model": DeepLinearModel(widths=(3,)), "data": data, "start": "truth", "steps": 0}
    record, arrays = trained(run_sweep([small(**settings)], targets_only=True))
    np.testing.assert_array_equal(arrays["w0"], load(data).truth)
    assert record.figures["loss_train"] == pytest.approx(0.0, abs=1e-25)
    assert record.figures["grad_norm"] == pytest.approx(0.0, abs=1e-12)
    assert record.figures["steps"] == 0
    assert record.status == "ok"
    assert arrays["loss_curve"].shape == (0,)


def test_a_potential(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    settings = {"model": PotentialModel(), "data": QuadraticData(), "start": "truth", "steps": 0}
    record, arrays = trained(run_sweep([small(**settings)], targets_only=True))
    np.testing.assert_array_equal(arrays["w0"], np.zeros(2))
    assert record.figures["loss_train"] == record.figures["grad_norm"] == 0.0
    assert record.figures["loss_test"] is None
    assert record.figures["n"] == 1000
    assert record.status == "ok"


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"start": "truth"}, "known true parameter"),
        ({"model": PotentialModel(), "data": QuadraticData()}, "target=truth"),
        ({"data": QuadraticData(), "start": "truth"}, "model=potential"),
        (
            {
                "model": DeepLinearModel(widths=(2,)),
                "data": DeepLinearData(widths=(4, 3, 4)),
                "start": "truth",
            },
            "equal widths",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_before_any_work(
    settings: dict[str, Any], part: str, small: Callable[..., Any], store: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan([small(**settings)], store)
    assert part in str(caught.value)
