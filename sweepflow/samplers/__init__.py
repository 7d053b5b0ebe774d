"""Samplers of the local posterior, one in each file: each turns a posterior and a key into the run of one
chain.

A chain is cut at its **points**: a block of steps (SGLD, SGNHT), a trajectory (HMC, NUTS), a step (MCLMC).
Its traces have an entry for every **recorded** point: points that thinning skips, and points of MCLMC's
tuning, have no entry.
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
"""Number of gradients of a NUTS trajectory that the room for traces assumes: most take more, and the budget
then ends the chain first."""


def chain(
    config: SamplerConfig,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
    length: int,
) -> Course:
    """Return the configured sampler's run of one chain; its results are a `Chain`.

    Args:
        config: The sampler's static part.
        traced: The sampler's traced numbers by field name, float64 scalars.
        posterior: Posterior to draw from.
        key: The trial's own key.
        lane: The chain's number within its trial.
        length: Number of recorded points that its traces have room for.
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
    """Return the number of chains that one trial runs, including bias chains."""
    return config.chains + (config.bias_chains if isinstance(config, StochasticSampler) else 0)


def tuning_points(config: SamplerConfig) -> int:
    """Return the number of leading points in which a chain tunes itself; none of them can be a draw."""
    match config:
        case SgldSampler() | SgnhtSampler():
            return stochastic.tuning_blocks(config)
        case HmcSampler() | NutsSampler():
            return config.warmup
        case MclmcSampler():
            return mclmc_tuning.plan(config.warmup).steps


def recorded(config: SamplerConfig, point: int) -> int:
    """Return the number of recorded points among the first `point` points.

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
    """Return the number of points that give `number` recorded points.

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
    """Return the sampler step, counted from 1, after which a point of the trace was recorded; points are
    counted from 0."""
    match config:
        case SgldSampler() | SgnhtSampler():
            searched = stochastic.searched_blocks(config)
            return max(0, number + 1 - searched) * config.thinning + min(number + 1, searched)
        case HmcSampler() | NutsSampler() | MclmcSampler():
            return point_of(config, number + 1)


def cost_of_points(config: SamplerConfig, rows: int, points: int) -> Float[np.ndarray, " points"]:
    """Return the full gradients of each of the first points, over all chains; for NUTS, the least that is
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
