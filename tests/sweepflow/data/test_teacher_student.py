"""The teacher is the seed's, in units of its own output."""

from __future__ import annotations

import numpy as np
import pytest

from sweepflow.data import load
from sweepflow.errors import DataError
from sweepflow.schema.data import TeacherStudentData

NOISELESS = TeacherStudentData(n_data=30_000, n_test=5_000, output_dim=3, noise_scale=0.0)


@pytest.mark.parametrize("law", ["isotropic", "anisotropic", "mixture", "latent"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu"])
def test_outputs_have_mean_zero_and_unit_deviation(law: str, activation: str) -> None:
    config = NOISELESS.model_copy(update={"inputs": law, "teacher_activation": activation})
    data = load(config)
    # 10 000 reference rows fix the units, so both are off by about a percent.
    np.testing.assert_allclose(data.y.mean(axis=0), 0.0, atol=0.06)
    np.testing.assert_allclose(data.y.std(axis=0), 1.0, rtol=0.06)
    np.testing.assert_allclose(data.y_test.std(axis=0), 1.0, rtol=0.12)


def test_the_labels_are_a_function_of_the_inputs_plus_the_noise_asked_for() -> None:
    clean = load(NOISELESS)
    noisy = load(NOISELESS.model_copy(update={"noise_scale": 0.5}))
    np.testing.assert_array_equal(clean.x, noisy.x)
    assert np.std(noisy.y - clean.y) == pytest.approx(0.5, rel=0.02)
    assert abs(np.corrcoef((noisy.y - clean.y)[:, 0], clean.y[:, 0])[0, 1]) < 0.03


def test_a_teacher_without_hidden_layers_is_affine() -> None:
    data = load(NOISELESS.model_copy(update={"teacher_widths": ()}))
    design = np.column_stack([data.x, np.ones(len(data.x))])
    residual = data.y - design @ np.linalg.lstsq(design, data.y, rcond=None)[0]
    assert np.abs(residual).max() < 1e-10


def test_a_teacher_with_hidden_layers_is_not() -> None:
    data = load(NOISELESS.model_copy(update={"teacher_activation": "relu"}))
    design = np.column_stack([data.x, np.ones(len(data.x))])
    residual = data.y - design @ np.linalg.lstsq(design, data.y, rcond=None)[0]
    assert residual.std() > 0.1


def test_the_teacher_does_not_depend_on_the_noise_or_the_number_of_test_rows() -> None:
    other = NOISELESS.model_copy(update={"n_test": 10, "noise": "student_t"})
    np.testing.assert_array_equal(load(other).y, load(NOISELESS).y)


def test_a_dead_teacher_is_refused() -> None:
    dead = TeacherStudentData(teacher_widths=(1,) * 30, teacher_activation="relu", seed=1)
    with pytest.raises(DataError, match=r"teacher's output is constant(.|\n)*seed=1\n.*wider"):
        load(dead)
