"""The four input laws of the teacher-student data.

- isotropic: x ~ N(0, I).
- anisotropic: independent coordinates whose variances are log-spaced from the largest, first, to the
  smallest; their ratio is `condition_number` and their mean is 1.
- mixture: equally likely components N(m_c, I), the means m_c ~ N(0, separation^2 I).
- latent: x = A z + 0.1 e with z ~ N(0, I) of `latent_dim` factors, e ~ N(0, I), and entries of A of
  variance 1/latent_dim, so that a coordinate of A z has variance near 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from sweepflow.data.streams import stream
from sweepflow.errors import DataError
from sweepflow.schema.data import TeacherStudentData

LATENT_NOISE = 0.1
"""Standard deviation of the inputs off the latent plane (inputs=latent)."""

Inputs = Float[np.ndarray, "rows input_dim"]


def check_inputs(config: TeacherStudentData) -> None:
    """Raise an error for a law that the input dimension cannot hold.

    Raises:
        DataError: for more latent factors than input coordinates.
    """
    if config.inputs == "latent" and config.latent_dim > config.input_dim:
        raise DataError(
            "there are more latent factors than inputs",
            got=f"latent_dim={config.latent_dim}, input_dim={config.input_dim}",
            allowed=f"latent_dim from 1 to {config.input_dim}",
            do="lower data.latent_dim or raise data.input_dim",
        )


def draw_inputs(config: TeacherStudentData, part: str, rows: int) -> Inputs:
    """Draw the inputs of one part of the data; the first rows do not depend on the number of rows.

    Args:
        config: The law and its parameters; the law's own random parameters (means, loadings) depend on
            the seed and not on the part.
        part: `train`, `test` or `reference`: independent rows for each.
        rows: Number of rows.

    Returns:
        float64, (rows, input_dim).
    """
    return _LAWS[config.inputs](config, part, rows)


def anisotropic_variances(dimension: int, condition_number: float) -> Float[np.ndarray, " dimension"]:
    """Log-spaced variances, largest first, with mean 1; in one dimension the variance is 1."""
    variances = np.geomspace(condition_number, 1.0, dimension)
    return variances / variances.mean()


def _isotropic(config: TeacherStudentData, part: str, rows: int) -> Inputs:
    return stream(config.seed, f"inputs/{part}").standard_normal((rows, config.input_dim))


def _anisotropic(config: TeacherStudentData, part: str, rows: int) -> Inputs:
    return _isotropic(config, part, rows) * np.sqrt(
        anisotropic_variances(config.input_dim, config.condition_number)
    )


def _mixture(config: TeacherStudentData, part: str, rows: int) -> Inputs:
    shape = (config.components, config.input_dim)
    means = config.separation * stream(config.seed, "inputs/means").standard_normal(shape)
    component = stream(config.seed, f"inputs/{part}/component").integers(config.components, size=rows)
    return means[component] + _isotropic(config, part, rows)


def _latent(config: TeacherStudentData, part: str, rows: int) -> Inputs:
    loadings = stream(config.seed, "inputs/loadings").standard_normal((config.input_dim, config.latent_dim))
    factors = stream(config.seed, f"inputs/{part}/factors").standard_normal((rows, config.latent_dim))
    on_plane = factors @ (loadings / np.sqrt(config.latent_dim)).T
    return on_plane + LATENT_NOISE * _isotropic(config, part, rows)


_LAWS: dict[str, Callable[[TeacherStudentData, str, int], Inputs]] = {
    "isotropic": _isotropic,
    "anisotropic": _anisotropic,
    "mixture": _mixture,
    "latent": _latent,
}
