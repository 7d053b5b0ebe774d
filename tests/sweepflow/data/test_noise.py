"""The noise laws have the variances and tails that their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from sweepflow.data.inputs import draw_inputs
from sweepflow.data.noise import draw_noise
from sweepflow.schema.data import TeacherStudentData

ROWS = 40_000
SCALE = 0.3


def noise_of(config: TeacherStudentData, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    x = draw_inputs(config, part, ROWS)
    return x, draw_noise(config, part, x, float(config.input_dim))


def kurtosis(values: np.ndarray) -> float:
    return float(np.mean(values**4) / np.mean(values**2) ** 2)


def test_gaussian() -> None:
    _, noise = noise_of(TeacherStudentData(noise_scale=SCALE, output_dim=2))
    assert noise.shape == (ROWS, 2)
    np.testing.assert_allclose(np.cov(noise.T), SCALE**2 * np.eye(2), atol=0.03 * SCALE**2)
    assert kurtosis(noise) == pytest.approx(3.0, rel=0.05)


def test_heteroscedastic_keeps_the_mean_square_and_follows_x() -> None:
    x, noise = noise_of(TeacherStudentData(noise="heteroscedastic", noise_scale=SCALE, input_dim=2))
    assert np.mean(noise**2) == pytest.approx(SCALE**2, rel=0.05)
    share = np.square(x).sum(axis=1) / 2
    order = np.argsort(share)
    for rows in np.array_split(order, 5):
        expected = SCALE**2 * (0.25 + 0.75 * share[rows].mean())
        assert np.mean(noise[rows] ** 2) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("degrees_of_freedom", [5.0, 12.0])
def test_student_t_has_its_scale_and_tails(degrees_of_freedom: float) -> None:
    _, noise = noise_of(
        TeacherStudentData(noise="student_t", noise_scale=SCALE, degrees_of_freedom=degrees_of_freedom)
    )
    variance = SCALE**2 * degrees_of_freedom / (degrees_of_freedom - 2)
    assert np.mean(noise**2) == pytest.approx(variance, rel=0.08)
    assert kurtosis(noise) > 3.3


def test_outliers_hit_whole_rows_at_the_rate_asked_for() -> None:
    _, noise = noise_of(
        TeacherStudentData(
            noise="outlier", noise_scale=SCALE, outlier_fraction=0.1, outlier_scale=1000.0, output_dim=4
        )
    )
    wide = np.abs(noise).max(axis=1) > 8 * SCALE
    assert wide.mean() == pytest.approx(0.1, rel=0.1)
    assert noise[~wide].std() == pytest.approx(SCALE, rel=0.02)
    np.testing.assert_allclose(noise[wide].std(axis=0), 1000 * SCALE, rtol=0.1)


@pytest.mark.parametrize("law", ["gaussian", "heteroscedastic", "student_t", "outlier"])
def test_scale_zero_is_no_noise_and_the_scale_only_scales(law: str) -> None:
    config = TeacherStudentData(noise=law, noise_scale=SCALE)
    _, noise = noise_of(config)
    _, none = noise_of(config.model_copy(update={"noise_scale": 0.0}))
    _, double = noise_of(config.model_copy(update={"noise_scale": 2 * SCALE}))
    assert not none.any()
    np.testing.assert_allclose(double, 2 * noise, rtol=1e-12)


def test_training_and_test_noise_are_independent() -> None:
    (_, train), (_, test) = (noise_of(TeacherStudentData(), part) for part in ("train", "test"))
    assert abs(np.corrcoef(train[:, 0], test[:, 0])[0, 1]) < 5 / np.sqrt(ROWS)
