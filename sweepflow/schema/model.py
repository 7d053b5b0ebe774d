"""Network architectures. Everything here shapes the compiled program, so every field is static."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from sweepflow.schema.fields import Config

Activation = Literal["relu", "tanh", "gelu", "silu"]


class MlpModel(Config):
    """A multilayer perceptron, given by its hidden widths or by a parameter budget.

    `widths` lists the widths of the hidden layers (an empty list is a linear model). Instead, `target_params`
    and `depth` give `depth` equal hidden layers. Their width brings the parameter count closest to
    `target_params`.
    """

    kind: Literal["mlp"] = "mlp"
    widths: tuple[PositiveInt, ...] | None = None
    """Widths of the hidden layers; `[]` is a linear model."""
    target_params: PositiveInt | None = None
    """Number of parameters to come close to, in place of `widths`."""
    depth: PositiveInt | None = None
    """Number of hidden layers, all of one width; goes with `target_params`."""
    activation: Activation = "relu"
    """Activation function of the hidden layers."""
    bias: bool = True
    """Whether the layers have biases."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> MlpModel:
        if (self.widths is None) == (self.target_params is None):
            raise ValueError("give either widths, or target_params with depth")
        if (self.target_params is None) != (self.depth is None):
            raise ValueError("target_params and depth go together")
        return self


class DeepLinearModel(Config):
    """A product of matrices, without biases or activations."""

    kind: Literal["deep_linear"] = "deep_linear"
    widths: tuple[PositiveInt, ...]
    """Widths of the hidden layers."""


class CnnModel(Config):
    """A small convolutional network for images: 3x3 convolutions, each followed by 2x2 max-pooling, then a
    hidden dense layer and the output layer."""

    kind: Literal["cnn"] = "cnn"
    channels: tuple[PositiveInt, ...] = Field(default=(8, 16), min_length=1)
    """Output channels of each convolution."""
    dense: PositiveInt = 32
    """Width of the hidden dense layer."""
    activation: Activation = "relu"
    """Activation function of the convolutions and of the hidden dense layer."""


class PotentialModel(Config):
    """No network: the parameters are the coordinates of a polynomial potential given as data."""

    kind: Literal["potential"] = "potential"


ModelConfig = Annotated[MlpModel | DeepLinearModel | CnnModel | PotentialModel, Field(discriminator="kind")]
