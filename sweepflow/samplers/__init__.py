"""Samplers of the local posterior, one a file: each turns a posterior and a key into the run of one chain.

A chain is cut at its **points**: a block of steps (SGLD, SGNHT), a trajectory (HMC, NUTS), a step (MCLMC).
Its traces have an entry at every **recorded** point: those that thinning passes over, and MCLMC's tuning,
leave none.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers import hmc, mclmc, mclmc_tuning, sgld, sgnht, stochastic
from sweepflow.samplers.posterior import LocalPosterior
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
    StochasticSampler,
)

LEAST_NUTS_COST = 4.0
"""Gradients of a NUTS trajectory that room is made for: most take more, and the budget then ends the chain
first."""


def chain(
    config: SamplerConfig,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
    length: int,
) -> Course:
    """The configured sampler's run of one chain; its results are a `Chain`.

    Args:
        config: The sampler's static part.
        traced: The sampler's traced numbers by field name, float64 scalars.
        posterior: What to draw from.
        key: The trial's own key.
        lane: The chain's number within its trial.
        length: Recorded points that its traces have room for.
    """
    match config:
        case SgldSampler():
            steps = sgld.dynamics(config, traced, posterior)
            return stochastic.chain(config, steps, traced, posterior, key, lane, length)
        case SgnhtSampler():
            steps = sgnht.dynamics(traced, posterior)
            return stochastic.chain(config, steps, traced, posterior, key, lane, length)
        case HmcSampler() | NutsSampler():
            return hmc.chain(config, traced, posterior, key, lane, length)
        case MclmcSampler():
            return mclmc.chain(config, traced, posterior, key, lane, length)


def chains_per_trial(config: SamplerConfig) -> int:
    """Chains that one trial runs, bias chains included."""
    return config.chains + (config.bias_chains if isinstance(config, StochasticSampler) else 0)


def tuning_points(config: SamplerConfig) -> int:
    """Leading points of a chain in which it tunes itself, and no draw can be."""
    match config:
        case SgldSampler() | SgnhtSampler():
            return stochastic.tuning_blocks(config)
        case HmcSampler() | NutsSampler():
            return config.warmup
        case MclmcSampler():
            return mclmc_tuning.plan(config.warmup).steps


def recorded(config: SamplerConfig, point: int) -> int:
    """Recorded points among the first so many points.

    >>> recorded(HmcSampler(warmup=100, thinning=5), 200)
    120
    """
    match config:
        case SgldSampler() | SgnhtSampler():
            return point
        case HmcSampler() | NutsSampler():
            return min(point, config.warmup) + max(0, point - config.warmup) // config.thinning
        case MclmcSampler():
            return max(0, point - tuning_points(config)) // config.thinning


def point_of(config: SamplerConfig, number: int) -> int:
    """Points that make so many recorded ones.

    >>> point_of(HmcSampler(warmup=100, thinning=5), 120)
    200
    """
    match config:
        case SgldSampler() | SgnhtSampler():
            return number
        case HmcSampler() | NutsSampler():
            return number + max(0, number - config.warmup) * (config.thinning - 1)
        case MclmcSampler():
            return tuning_points(config) + number * config.thinning


def step_of_point(config: SamplerConfig, number: int) -> int:
    """The sampler step, counted from 1, after which a point of the trace was recorded; points are counted
    from 0."""
    match config:
        case SgldSampler() | SgnhtSampler():
            searched = stochastic.searched_blocks(config)
            return max(0, number + 1 - searched) * config.thinning + min(number + 1, searched)
        case HmcSampler() | NutsSampler() | MclmcSampler():
            return point_of(config, number + 1)


def cost_of_points(config: SamplerConfig, rows: int, points: int) -> Float[np.ndarray, " points"]:
    """Full gradients of each of the first points, all chains together; of NUTS, the least that is
    expected."""
    match config:
        case SgldSampler() | SgnhtSampler():
            each, finer = stochastic.costs(config, rows, points)
            return config.chains * each + config.bias_chains * finer
        case HmcSampler():
            mean = (1 + config.num_integration_steps) / 2
            return np.full(points, config.chains * mean)
        case NutsSampler():
            return np.full(points, config.chains * min(LEAST_NUTS_COST, 2.0**config.max_num_doublings))
        case MclmcSampler():
            return np.full(points, float(config.chains * mclmc.GRADIENTS_PER_STEP))
