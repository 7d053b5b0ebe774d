"""Multilayer perceptrons, by widths or by parameter budget, and deep linear networks."""

from __future__ import annotations

import math
from itertools import pairwise

from sweepflow.data.dataset import DataShape
from sweepflow.models.layers import ACTIVATIONS, dense_stack
from sweepflow.models.network import Network, from_equinox
from sweepflow.schema.model import DeepLinearModel, MlpModel


def num_params(widths: tuple[int, ...], bias: bool) -> int:
    """Return the number of parameters of a dense stack of these widths, input and output included."""
    return sum((a + bias) * b for a, b in pairwise(widths))


def hidden_width(target_params: int, depth: int, fan_in: int, fan_out: int, bias: bool) -> int:
    """The width of `depth` equal hidden layers whose parameter count is closest to `target_params`.

    The count grows with the width, so the closest is one of the two widths around the crossing.
    """

    def count(width: int) -> int:
        return num_params((fan_in, *[width] * depth, fan_out), bias)

    low, high = 1, max(2, target_params)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= target_params else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - target_params))


def hidden_widths(config: MlpModel, fan_in: int, fan_out: int) -> tuple[int, ...]:
    """Return the hidden widths that a configuration describes for this data."""
    if config.widths is not None:
        return config.widths
    assert config.target_params is not None and config.depth is not None  # held by the schema
    width = hidden_width(config.target_params, config.depth, fan_in, fan_out, config.bias)
    return (width,) * config.depth


def mlp(config: MlpModel, shape: DataShape) -> Network:
    """An MLP on flattened inputs."""
    fan_in = math.prod(shape.input_shape)
    widths = (fan_in, *hidden_widths(config, fan_in, shape.output_dim), shape.output_dim)
    return from_equinox(lambda key: dense_stack(widths, ACTIVATIONS[config.activation], config.bias, key))


def deep_linear(config: DeepLinearModel, shape: DataShape) -> Network:
    """A product of matrices; its parameter vector is W_1, ..., W_L, each row-major with shape (out, in)."""
    widths = (math.prod(shape.input_shape), *config.widths, shape.output_dim)
    return from_equinox(lambda key: dense_stack(widths, None, False, key))
