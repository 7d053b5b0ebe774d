"""Regression data from a random teacher network, after the teacher-student setting of lambda-hat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from sweepflow.data.dataset import Dataset, DataShape
from sweepflow.data.inputs import check_inputs, draw_inputs
from sweepflow.data.noise import draw_noise
from sweepflow.data.streams import stream
from sweepflow.errors import DataError
from sweepflow.schema.data import TeacherStudentData

REFERENCE_ROWS = 10_000
"""Rows that give the teacher's mean and deviation; fixed, so that they do not depend on n_data."""

BIAS_SCALE = 0.1
"""Standard deviation of the teacher's biases."""


def describe(config: TeacherStudentData) -> DataShape:
    """The shape, from the configuration alone.

    Raises:
        DataError: for an input law that the input dimension cannot hold.
    """
    check_inputs(config)
    return DataShape(
        task="regression",
        n=config.n_data,
        n_test=config.n_test,
        input_shape=(config.input_dim,),
        output_dim=config.output_dim,
    )


def load(config: TeacherStudentData) -> Dataset:
    """Draw the rows: y = teacher(x) + noise; the test rows follow the same law as the training rows.

    Raises:
        DataError: as `describe`, and for a teacher whose output is constant.
    """
    shape = describe(config)
    reference = draw_inputs(config, "reference", REFERENCE_ROWS)
    mean_square_norm = float(np.square(reference).sum(axis=1).mean())
    teacher = _standardized_teacher(config, reference)

    def rows(part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        x = draw_inputs(config, part, count)
        return x, teacher(x) + draw_noise(config, part, x, mean_square_norm)

    x, y = rows("train", config.n_data)
    x_test, y_test = rows("test", config.n_test)
    return Dataset(shape=shape, x=x, y=y, x_test=x_test, y_test=y_test)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A multilayer perceptron with shifted and scaled outputs.

    Attributes:
        weights: Matrices (out, in), Gaussian with standard deviation 1/sqrt(in).
        biases: Vectors (out,), Gaussian with standard deviation BIAS_SCALE.
        activation: Applied between the layers, not after the last.
        mean: (output_dim,), subtracted from the output.
        scale: (output_dim,), divides the output.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: Callable[[np.ndarray], np.ndarray]
    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, x: Float[np.ndarray, "rows input_dim"]) -> Float[np.ndarray, "rows output_dim"]:
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self.activation(x @ weight.T + bias)
        return (x @ self.weights[-1].T + self.biases[-1] - self.mean) / self.scale


def _standardized_teacher(config: TeacherStudentData, reference: np.ndarray) -> Teacher:
    """The seed's teacher, each output with mean 0 and deviation 1 over the reference inputs."""
    rng = stream(config.seed, "teacher")
    widths = (config.input_dim, *config.teacher_widths, config.output_dim)
    weights, biases = [], []
    for fan_in, fan_out in pairwise(widths):
        weights.append(rng.standard_normal((fan_out, fan_in)) / np.sqrt(fan_in))
        biases.append(BIAS_SCALE * rng.standard_normal(fan_out))
    zero, one = np.zeros(config.output_dim), np.ones(config.output_dim)
    activation = _ACTIVATIONS[config.teacher_activation]
    raw = Teacher(tuple(weights), tuple(biases), activation, mean=zero, scale=one)
    outputs = raw(reference)
    if np.any(np.ptp(outputs, axis=0) == 0):
        raise DataError(
            "the teacher's output is constant: all of its units are dead",
            got=f"teacher_widths={config.teacher_widths}, teacher_activation={config.teacher_activation}, "
            f"seed={config.seed}",
            do="use wider data.teacher_widths, another data.seed, or data.teacher_activation=tanh",
        )
    return Teacher(raw.weights, raw.biases, activation, outputs.mean(axis=0), outputs.std(axis=0))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # exp(-x) would overflow


def _gelu(x: np.ndarray) -> np.ndarray:
    """The tanh form, which is also JAX's default."""
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
}
