"""The configuration of one estimate, and of the whole `llc` command around it."""

from __future__ import annotations

from pydantic import Field

from sweepflow.schema.data import DataConfig
from sweepflow.schema.fields import Config
from sweepflow.schema.model import ModelConfig
from sweepflow.schema.name import SweepName
from sweepflow.schema.runner import LocalRunner, RunnerConfig, default_store
from sweepflow.schema.sampler import SamplerConfig
from sweepflow.schema.target import TargetConfig, TrainingConfig


class EstimateConfig(Config):
    """Everything that decides an estimate: a target and a sampler run on it."""

    target: TargetConfig
    sampler: SamplerConfig


class LlcConfig(Config):
    """One configuration of the `llc` command, both stages together."""

    model: ModelConfig
    data: DataConfig
    target: TrainingConfig
    sampler: SamplerConfig
    runner: RunnerConfig = LocalRunner()
    store: str = Field(default_factory=default_store, min_length=1)
    """Directory of records and reports; the variable SWEEPFLOW_STORE, or `sweepflow-data`, if it is not
    given."""
    name: SweepName | None = None
    """Name of the sweep; made from its trials if it is not given."""

    def estimate(self) -> EstimateConfig:
        """The part of the configuration that decides the result."""
        return EstimateConfig(
            target=TargetConfig(model=self.model, data=self.data, target=self.target),
            sampler=self.sampler,
        )
