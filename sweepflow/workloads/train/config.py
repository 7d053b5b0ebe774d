"""The configuration of one training run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from sweepflow.schema.data import BundledData, DataConfig, Fraction, Seed
from sweepflow.schema.fields import Content, Location, Traced
from sweepflow.schema.model import MlpModel, ModelConfig
from sweepflow.schema.target import Dtype
from sweepflow.workloads.optimizer import OptimizerConfig

UnitInterval = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(OptimizerConfig):
    """Training of one network on the training rows, evaluated on the validation rows after every epoch.

    A rate of 0 switches dropout, label smoothing, augmentation noise, weight decay or clipping off.
    """

    model: ModelConfig = MlpModel(widths=(64,))
    """The network: the keys of the group `model`."""
    data: DataConfig = BundledData()
    """The data: the keys of the group `data`."""
    validation_fraction: Fraction = 0.2
    """Share of the training rows that is kept for validation."""
    schedule: Literal["constant", "cosine", "warmup_cosine", "plateau"] = "constant"
    """Schedule of the learning rate."""
    epochs: PositiveInt = 10
    """Number of epochs."""
    batch_size: PositiveInt = 128
    """Rows per step; all rows if there are fewer. Rows that do not fill a last step are left out of the
    epoch."""
    min_learning_rate: Traced[NonNegativeFloat] = 0.0
    """Final rate of cosine schedules, and lower limit of the rate for plateau. If it is above the learning
    rate, it is lowered to the learning rate."""
    warmup_fraction: Traced[UnitInterval] = 0.1
    """Share of all steps over which the rate rises linearly (warmup_cosine)."""
    plateau_factor: Traced[Annotated[float, Field(gt=0, lt=1)]] = 0.5
    """Factor by which the rate is multiplied when the validation loss stalls (plateau)."""
    plateau_patience: Traced[PositiveInt] = 3
    """Number of epochs without a new best validation loss that count as a stall (plateau)."""
    dropout: Traced[UnitInterval] = 0.0
    """Probability that a hidden unit is dropped, after every hidden dense layer. 0 and a value above 0 are
    different programs."""
    label_smoothing: Traced[UnitInterval] = 0.0
    """Share of a label that is spread over all classes (classification only)."""
    augmentation_noise: Traced[NonNegativeFloat] = 0.0
    """Standard deviation of Gaussian noise added to the inputs of every training step. 0 and a value above 0
    are different programs."""
    dtype: Dtype = "float32"
    """Type of the numbers that the program computes with."""
    seed: Content[Seed] = 0
    """Seed of the initialisation, the order of rows, dropout and noise; the data have a seed of their own."""
    stop_after: Content[PositiveInt | None] = None
    """Stop after this many epochs of a schedule made for `epochs`, and keep the state to continue from."""
    resume_after: Location[NonNegativeInt] = 0
    """Continue from the kept state of the trial that stopped after this many epochs."""
    pad_widths_to: Location[tuple[PositiveInt, ...] | None] = None
    """Hidden widths of the compiled program, at least the model's own: units beyond those stay zero."""
