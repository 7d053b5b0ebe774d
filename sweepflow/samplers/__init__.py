"""Samplers of the local posterior, one a file: each turns a posterior and a key into the run of one chain."""

from __future__ import annotations

from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers import hmc, mclmc, sgld
from sweepflow.samplers.posterior import LocalPosterior
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
)


def chain(
    config: SamplerConfig,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Course:
    """The configured sampler's run of one chain; its results are a `Chain`.

    Args:
        config: The sampler's static part.
        traced: The sampler's traced numbers by field name, float64 scalars.
        posterior: What to draw from.
        key: The chain's own key.
        lane: The chain's number within its trial.
    """
    match config:
        case SgldSampler():
            return sgld.chain(config, traced, posterior, key, lane)
        case HmcSampler() | NutsSampler():
            return hmc.chain(config, traced, posterior, key, lane)
        case MclmcSampler():
            return mclmc.chain(config, traced, posterior, key, lane)


def points_of_chain(config: SamplerConfig) -> int:
    """Points at which a chain can be cut."""
    match config:
        case SgldSampler():
            return sgld.points(config)
        case HmcSampler() | NutsSampler():
            return hmc.points(config)
        case MclmcSampler():
            return mclmc.points(config)


def chains_per_trial(config: SamplerConfig) -> int:
    """Chains that one trial runs, bias chains included."""
    return config.chains + (config.bias_chains if isinstance(config, SgldSampler) else 0)


def warmup_points(config: SamplerConfig) -> int:
    """Leading points of a chain's trace that are warm-up."""
    match config:
        case SgldSampler():
            return sgld.recorded_blocks(config)[0]
        case HmcSampler() | NutsSampler():
            return config.warmup
        case MclmcSampler():
            return 0


def step_of_point(config: SamplerConfig, point: int) -> int:
    """The sampler step, counted from 1, after which a point of the trace was recorded."""
    match config:
        case SgldSampler():
            return (point + 1) * config.thinning
        case HmcSampler() | NutsSampler() | MclmcSampler():
            draws = point + 1 - warmup_points(config)
            return point + 1 if draws <= 0 else config.warmup + draws * config.thinning
