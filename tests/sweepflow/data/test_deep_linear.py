"""The true matrices lie on the most singular stratum, and the inputs are white."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepflow.data import load
from sweepflow.data.deep_linear import SINGULAR_VALUES, true_matrices, whiten
from sweepflow.schema.data import DeepLinearData


@st.composite
def configs(draw: st.DrawFn) -> DeepLinearData:
    widths = draw(st.lists(st.integers(1, 12), min_size=2, max_size=6))
    rank = draw(st.integers(0, min(widths)))
    return DeepLinearData(widths=tuple(widths), rank=rank, n_data=40, seed=draw(st.integers(0, 2**32 - 1)))


@given(configs())
@settings(max_examples=60, deadline=None)
def test_every_layer_and_every_partial_product_has_exactly_the_rank(config: DeepLinearData) -> None:
    matrices = true_matrices(config)
    assert [m.shape for m in matrices] == list(zip(config.widths[1:], config.widths[:-1], strict=True))
    for first in range(len(matrices)):
        product = np.eye(config.widths[first])
        for matrix in matrices[first:]:
            product = matrix @ product
            singular = np.linalg.svd(product, compute_uv=False)
            assert np.all(singular[: config.rank] > 0.4)
            assert np.all(singular[: config.rank] < 1.6)
            assert np.all(singular[config.rank :] < 1e-12)
    whole = np.linalg.svd(
        product if len(matrices) == 1 else np.linalg.multi_dot(matrices[::-1]), compute_uv=False
    )
    assert np.all(whole[: config.rank] >= SINGULAR_VALUES[0] - 1e-12)
    assert np.all(whole[: config.rank] <= SINGULAR_VALUES[1] + 1e-12)


def test_truth_is_the_layers_in_order_and_reproduces_the_labels() -> None:
    config = DeepLinearData(widths=(5, 3, 4, 2), rank=2, n_data=50)
    data = load(config)
    assert data.truth is not None
    assert data.truth.shape == (5 * 3 + 3 * 4 + 4 * 2,)
    x, at = data.x, 0
    for fan_in, fan_out in ((5, 3), (3, 4), (4, 2)):
        weight = data.truth[at : at + fan_in * fan_out].reshape(fan_out, fan_in)
        x, at = x @ weight.T, at + fan_in * fan_out
    np.testing.assert_allclose(x, data.y, atol=1e-12)


@given(st.integers(1, 20), st.integers(0, 100), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_whitening_is_exact_and_keeps_the_row_space(dimension: int, more: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((dimension + more, dimension))
    white = whiten(x)
    np.testing.assert_allclose(white.T @ white / len(x), np.eye(dimension), atol=1e-10)
    np.testing.assert_allclose(white, x @ np.linalg.lstsq(x, white, rcond=None)[0], atol=1e-6)


def test_training_inputs_are_white_and_test_inputs_are_not() -> None:
    data = load(DeepLinearData(widths=(6, 3), n_data=100, n_test=100))
    np.testing.assert_allclose(data.x.T @ data.x / 100, np.eye(6), atol=1e-12)
    assert np.abs(data.x_test.T @ data.x_test / 100 - np.eye(6)).max() > 0.01


def test_fewer_rows_than_inputs_are_left_as_they_are() -> None:
    data = load(DeepLinearData(widths=(6, 3), n_data=5))
    assert np.linalg.matrix_rank(data.x) == 5
    assert np.ptp(np.linalg.svd(data.x, compute_uv=False)) > 0.1


def test_rank_zero_is_noise_only() -> None:
    data = load(DeepLinearData(widths=(3, 3), rank=0, n_data=20_000, noise_scale=0.5))
    assert data.truth is not None
    assert not data.truth.any()
    assert data.y.std() == pytest.approx(0.5, rel=0.02)


def test_the_truth_depends_on_neither_the_rows_nor_the_noise() -> None:
    config = DeepLinearData(n_data=50)
    other = config.model_copy(update={"n_data": 500, "noise_scale": 1.0})
    np.testing.assert_array_equal(load(config).truth, load(other).truth)
