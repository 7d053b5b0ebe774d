"""Training of a target, and the configuration that identifies a target."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sweepflow.schema.data import DataConfig, Seed
from sweepflow.schema.fields import Config, Content, Traced
from sweepflow.schema.model import ModelConfig

Dtype = Literal["float32", "float64"]
Decay = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(Config):
    """Training of one target with optax, in one compiled loop."""

    start: Literal["random", "truth"] = "random"
    """Start of the training: the layers' own initialisation, or the data's known true parameter."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Optimizer of optax."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Schedule of the learning rate; `cosine` decays to 0 over all steps."""
    steps: NonNegativeInt = 20_000
    """Number of steps."""
    batch_size: PositiveInt | None = None
    """Rows of each step, drawn with replacement; all rows if it is not given."""
    learning_rate: Traced[PositiveFloat] = 1e-2
    """Learning rate, at the start of the schedule."""
    momentum: Traced[Decay] = 0.9
    """Momentum (sgd only)."""
    weight_decay: Traced[NonNegativeFloat] = 0.0
    """Decoupled weight decay (adamw only)."""
    tolerance: Traced[NonNegativeFloat] = 0.0
    """Training stops once the norm of the full-data gradient is at most this. A note then says that w0 is no
    minimum."""
    dtype: Dtype = "float64"
    """Type of the numbers that the program computes with."""
    seed: Content[Seed] = 0
    """Seed of the initialisation and the minibatches."""


class TargetConfig(Config):
    """Everything that decides a target; its fingerprint is the target's id."""

    model: ModelConfig
    data: DataConfig
    target: TrainingConfig
