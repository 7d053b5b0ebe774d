"""The configuration of one estimate, and of the whole `llc` command around it."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from sweepflow.schema.data import DataConfig
from sweepflow.schema.fields import Config
from sweepflow.schema.model import ModelConfig
from sweepflow.schema.sampler import SamplerConfig
from sweepflow.schema.target import TargetConfig, TrainingConfig


class EstimateConfig(Config):
    """Everything that decides an estimate: a target and a sampler run on it."""

    target: TargetConfig
    sampler: SamplerConfig


class RunnerConfig(Config):
    """Where and how batches run; never part of a fingerprint."""

    kind: Literal["local"] = "local"
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Trials a batch; `auto` takes what the compiled program's memory figures allow."""
    memory_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the free memory that one batch may take; a batch that wants more is halved."""
    workers: PositiveInt = 2
    """Batches in hand at once: one runs on the devices while others compile."""


class LlcConfig(Config):
    """One configuration of the `llc` command, both stages together."""

    model: ModelConfig
    data: DataConfig
    target: TrainingConfig
    sampler: SamplerConfig
    runner: RunnerConfig = RunnerConfig()
    store: str = Field(
        default_factory=lambda: os.environ.get("SWEEPFLOW_STORE", "sweepflow-data"), min_length=1
    )
    """Directory of records and reports."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """The sweep's name; made from its trials where it is not given."""

    def estimate(self) -> EstimateConfig:
        """The part that decides the result."""
        return EstimateConfig(
            target=TargetConfig(model=self.model, data=self.data, target=self.target),
            sampler=self.sampler,
        )
