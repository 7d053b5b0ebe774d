"""The input laws have the moments that their definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.data.inputs import LATENT_NOISE, anisotropic_variances, draw_inputs
from sweepflow.data.streams import stream
from sweepflow.schema.data import TeacherStudentData

ROWS = 40_000
FIVE_SIGMA = 5 / np.sqrt(ROWS)


def whitened_covariance(x: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Identity, up to sampling error of order sqrt(2/rows), for draws with that covariance."""
    root = np.linalg.cholesky(covariance)
    y = np.linalg.solve(root, (x - x.mean(axis=0)).T)
    return y @ y.T / x.shape[0]


def test_isotropic_is_standard_normal() -> None:
    x = draw_inputs(TeacherStudentData(input_dim=5), "train", ROWS)
    assert np.abs(x.mean(axis=0)).max() < FIVE_SIGMA
    np.testing.assert_allclose(np.cov(x.T), np.eye(5), atol=FIVE_SIGMA * np.sqrt(2))
    assert np.mean(x**4) == pytest.approx(3.0, rel=0.05)


def test_anisotropic_has_the_condition_number_asked_for() -> None:
    config = TeacherStudentData(input_dim=4, inputs="anisotropic", condition_number=1000.0)
    x = draw_inputs(config, "train", ROWS)
    variances = anisotropic_variances(4, 1000.0)
    assert variances[0] / variances[1] == pytest.approx(10.0)
    np.testing.assert_allclose(
        whitened_covariance(x, np.diag(variances)), np.eye(4), atol=FIVE_SIGMA * np.sqrt(2)
    )


@given(st.integers(2, 50), st.floats(1.0, 1e8))
def test_anisotropic_variances_have_mean_one_and_the_ratio(dimension: int, condition: float) -> None:
    variances = anisotropic_variances(dimension, condition)
    assert variances.mean() == pytest.approx(1.0)
    assert variances[0] / variances[-1] == pytest.approx(condition, rel=1e-9)
    assert np.all(np.diff(np.log(variances)) <= 1e-9)


def test_one_anisotropic_input_has_variance_one() -> None:
    assert anisotropic_variances(1, 100.0).tolist() == [1.0]


def test_mixture_has_unit_components_around_its_means() -> None:
    config = TeacherStudentData(input_dim=3, inputs="mixture", components=4, separation=30.0)
    x = draw_inputs(config, "train", ROWS)
    means = 30.0 * stream(config.seed, "inputs/means").standard_normal((4, 3))
    nearest = np.argmin(np.linalg.norm(x[:, None] - means, axis=2), axis=1)
    for component, mean in enumerate(means):
        rows = x[nearest == component]
        assert len(rows) == pytest.approx(ROWS / 4, rel=0.06)
        np.testing.assert_allclose(rows.mean(axis=0), mean, atol=2 * FIVE_SIGMA)
        np.testing.assert_allclose(np.cov(rows.T), np.eye(3), atol=2 * FIVE_SIGMA * np.sqrt(2))


def test_mixture_means_have_the_separation_and_do_not_depend_on_the_part() -> None:
    config = TeacherStudentData(input_dim=50, inputs="mixture", components=40, separation=3.0)
    train, test = (draw_inputs(config, part, ROWS) for part in ("train", "test"))
    # Total variance of a coordinate: 1 within, 9 between (2000 Gaussian means, so within 10 %).
    assert train.var(axis=0).mean() == pytest.approx(10.0, rel=0.1)
    np.testing.assert_allclose(train.mean(axis=0), test.mean(axis=0), atol=10 * FIVE_SIGMA)


def test_latent_inputs_lie_near_a_plane_of_latent_dim() -> None:
    config = TeacherStudentData(input_dim=8, inputs="latent", latent_dim=3)
    x = draw_inputs(config, "train", ROWS)
    loadings = stream(config.seed, "inputs/loadings").standard_normal((8, 3)) / np.sqrt(3)
    covariance = loadings @ loadings.T + LATENT_NOISE**2 * np.eye(8)
    np.testing.assert_allclose(whitened_covariance(x, covariance), np.eye(8), atol=FIVE_SIGMA * np.sqrt(2))
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T))
    np.testing.assert_allclose(eigenvalues[:5], LATENT_NOISE**2, rtol=0.1)
    assert eigenvalues[5] > 5 * LATENT_NOISE**2


@pytest.mark.parametrize("law", ["isotropic", "anisotropic", "mixture", "latent"])
def test_parts_are_independent_rows(law: str) -> None:
    config = TeacherStudentData(inputs=law, separation=0.0)
    train, test = (draw_inputs(config, part, ROWS) for part in ("train", "test"))
    correlation = np.corrcoef(train.T, test.T)[:4, 4:]
    assert np.abs(correlation).max() < FIVE_SIGMA
