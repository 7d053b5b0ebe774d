"""The four label-noise laws of the teacher-student data, in units of the teacher's output.

With s = `noise_scale`:

- gaussian: N(0, s^2).
- heteroscedastic: N(0, s^2 (1/4 + 3/4 |x|^2 / E|x|^2)): smooth in x, never below s/2, and s^2 on
  average over the inputs.
- student_t: s times a Student t variable, whose variance is s^2 df / (df - 2).
- outlier: N(0, s^2), but a fraction of the rows has `outlier_scale` times the standard deviation in
  all of its outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from sweepflow.data.streams import stream
from sweepflow.schema.data import TeacherStudentData

HETEROSCEDASTIC_FLOOR = 0.25
"""Share of the noise variance that does not depend on x (noise=heteroscedastic)."""

Labels = Float[np.ndarray, "rows output_dim"]
Inputs = Float[np.ndarray, "rows input_dim"]


def draw_noise(config: TeacherStudentData, part: str, x: Inputs, mean_square_norm: float) -> Labels:
    """Draw label noise for the rows of one part; the first rows do not depend on the number of rows.

    Args:
        config: The law and its parameters.
        part: `train` or `test`.
        x: (rows, input_dim) inputs of these rows.
        mean_square_norm: E|x|^2 of the input law.

    Returns:
        float64, (rows, output_dim).
    """
    return config.noise_scale * _LAWS[config.noise](config, part, x, mean_square_norm)


def _gaussian(config: TeacherStudentData, part: str, x: Inputs, mean_square_norm: float) -> Labels:
    return stream(config.seed, f"noise/{part}").standard_normal((len(x), config.output_dim))


def _heteroscedastic(config: TeacherStudentData, part: str, x: Inputs, mean_square_norm: float) -> Labels:
    share = np.square(x).sum(axis=1, keepdims=True) / mean_square_norm
    variance = HETEROSCEDASTIC_FLOOR + (1 - HETEROSCEDASTIC_FLOOR) * share
    return np.sqrt(variance) * _gaussian(config, part, x, mean_square_norm)


def _student_t(config: TeacherStudentData, part: str, x: Inputs, mean_square_norm: float) -> Labels:
    shape = (len(x), config.output_dim)
    return stream(config.seed, f"noise/{part}").standard_t(config.degrees_of_freedom, shape)


def _outlier(config: TeacherStudentData, part: str, x: Inputs, mean_square_norm: float) -> Labels:
    chance = stream(config.seed, f"noise/{part}/outlier").random((len(x), 1))
    width = np.where(chance < config.outlier_fraction, config.outlier_scale, 1.0)
    return width * _gaussian(config, part, x, mean_square_norm)


_LAWS: dict[str, Callable[[TeacherStudentData, str, Inputs, float], Labels]] = {
    "gaussian": _gaussian,
    "heteroscedastic": _heteroscedastic,
    "student_t": _student_t,
    "outlier": _outlier,
}
