"""Samplers of the local posterior, one a file: each turns a posterior and a key into one chain."""

from __future__ import annotations

from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.samplers import hmc, mclmc, sgld
from sweepflow.samplers.posterior import Chain, LocalPosterior
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
)


def draw_chain(
    config: SamplerConfig,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Chain:
    """Run the configured sampler for one chain.

    Args:
        config: The sampler's static part.
        traced: The sampler's traced numbers by field name, float64 scalars.
        posterior: What to draw from.
        key: The chain's own key.
        lane: The chain's number within its trial.
    """
    match config:
        case SgldSampler():
            return sgld.sample(config, traced, posterior, key, lane)
        case HmcSampler() | NutsSampler():
            return hmc.sample(config, traced, posterior, key, lane)
        case MclmcSampler():
            return mclmc.sample(config, traced, posterior, key, lane)


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
