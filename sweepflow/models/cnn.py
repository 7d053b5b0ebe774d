"""A small convolutional network for images, channels first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sweepflow.data.dataset import DataShape
from sweepflow.errors import ConfigError
from sweepflow.models.layers import ACTIVATIONS, DenseStack, dense_stack
from sweepflow.models.network import Network, from_equinox
from sweepflow.schema.model import CnnModel


class Cnn(eqx.Module):
    """Convolutions on each image by itself, then dense layers on all rows at once."""

    convolutions: eqx.nn.Sequential
    head: DenseStack

    def __call__(
        self, x: Float[Array, "rows ..."], key: PRNGKeyArray | None = None
    ) -> Float[Array, "rows out"]:
        """Return the outputs; with a key, every row drops its own hidden units."""
        return self.head(jax.vmap(self.convolutions)(x), key)


def cnn(config: CnnModel, shape: DataShape) -> Network:
    """3x3 convolutions, each followed by the activation and 2x2 max-pooling, then two dense layers.

    Raises:
        ConfigError: where the data are not images, or are too small for that many poolings.
    """
    image = (1, *shape.input_shape) if len(shape.input_shape) == 2 else shape.input_shape
    if len(image) != 3:
        raise ConfigError(
            "model.kind=cnn needs images: rows of shape (height, width) or (channels, height, width)",
            got=f"rows of shape {shape.input_shape}",
            do="choose data=digits or an .npz with images, or model=small",
        )
    in_channels, height, width = image
    shrink = 2 ** len(config.channels)
    if min(height, width) < shrink:
        raise ConfigError(
            "the image is too small for that many convolutions, each of which halves it",
            got=f"{height}x{width} pixels, {len(config.channels)} entries in model.channels",
            do="give fewer channels",
        )
    features = config.channels[-1] * (height // shrink) * (width // shrink)
    activation = ACTIVATIONS[config.activation]

    def make(key: PRNGKeyArray) -> eqx.Module:
        *conv_keys, dense_key = jax.random.split(key, len(config.channels) + 1)
        layers: list[Callable[..., Any]] = [eqx.nn.Lambda(lambda row: jnp.reshape(row, image))]
        fan_in = in_channels
        for channels, conv_key in zip(config.channels, conv_keys, strict=True):
            layers += [
                eqx.nn.Conv2d(fan_in, channels, 3, padding=1, key=conv_key),
                eqx.nn.Lambda(activation),
                eqx.nn.MaxPool2d(2, 2),
            ]
            fan_in = channels
        convolutions = eqx.nn.Sequential([*layers, eqx.nn.Lambda(jnp.ravel)])
        widths = (features, config.dense, shape.output_dim)
        return Cnn(convolutions, dense_stack(widths, activation, True, dense_key))

    return from_equinox(make)
