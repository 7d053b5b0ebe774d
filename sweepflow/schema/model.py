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
    target_params: PositiveInt | None = None
    depth: PositiveInt | None = None
    activation: Activation = "relu"
    bias: bool = True

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> MlpModel:
        if (self.widths is None) == (self.target_params is None):
            raise ValueError("give either widths, or target_params with depth")
        if (self.target_params is None) != (self.depth is None):
            raise ValueError("target_params and depth go together")
        return self


class DeepLinearModel(Config):
    """A product of matrices without biases or activations; `widths` lists the widths of the hidden layers."""

    kind: Literal["deep_linear"] = "deep_linear"
    widths: tuple[PositiveInt, ...]


class CnnModel(Config):
    """A small convolutional network for images: 3x3 convolutions, each with 2x2 max-pooling, then one
    dense layer."""

    kind: Literal["cnn"] = "cnn"
    channels: tuple[PositiveInt, ...] = Field(default=(8, 16), min_length=1)
    dense: PositiveInt = 32
    activation: Activation = "relu"


class PotentialModel(Config):
    """No network: the parameters are the coordinates of a polynomial potential given as data."""

    kind: Literal["potential"] = "potential"


ModelConfig = Annotated[MlpModel | DeepLinearModel | CnnModel | PotentialModel, Field(discriminator="kind")]
