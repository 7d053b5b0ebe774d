"""Microcanonical Langevin Monte Carlo on blackjax's kernel (Robnik, De Luca, Silverstein and Seljak 2023).

Unadjusted: its bias is bounded by the energy variance that the step size is tuned to. Tuning can run
away or freeze, so the tuned step size is cut to `max_step_size` and every step that was not finite is
counted.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.samplers.kernels import import_blackjax, in_float64
from sweepflow.samplers.posterior import Chain, LocalPosterior
from sweepflow.schema.sampler import MclmcSampler

GRADIENTS_PER_STEP = 2
"""Of the McLachlan integrator."""
MAX_LENGTH_STEPS = 300
"""Cap on the tuning steps that estimate L: they are the only ones whose positions are kept in memory."""


@jax.numpy_dtype_promotion("standard")  # blackjax's own code relies on implicit promotion
def sample(
    config: MclmcSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Chain:
    """Tune L, step size and a diagonal preconditioner during warm-up, then draw one chain."""
    del lane
    blackjax, posterior = import_blackjax(), in_float64(posterior)
    init_key, tune_key, draw_key = jax.random.split(key, 3)
    kernel = blackjax.mclmc.build_kernel()
    state = blackjax.mclmc.init(posterior.center, posterior.logdensity, init_key)
    # blackjax spends a third more than frac_tune2 on readjusting the step size.
    length_steps = min(config.warmup // 4, MAX_LENGTH_STEPS)
    first = 0.4 * (config.warmup - length_steps)
    state, tuned, tuning_steps = blackjax.mclmc_find_L_and_step_size(
        kernel,
        max(config.warmup, 1),
        state,
        tune_key,
        logdensity_fn=posterior.logdensity,
        frac_tune1=first / max(config.warmup, 1),
        frac_tune2=1.1 * first / max(config.warmup, 1),
        frac_tune3=length_steps / max(config.warmup, 1),
        desired_energy_var=traced["desired_energy_var"],
    )
    # A natural step grows with the square root of the dimension, and so does its bound.
    step_size = jnp.minimum(tuned.step_size, traced["max_step_size"] * math.sqrt(posterior.center.size))

    def step(state: Any, number: Int[Array, ""]) -> tuple[Any, tuple[Array, Array]]:
        state, info = kernel(
            jax.random.fold_in(draw_key, number),
            state,
            posterior.logdensity,
            tuned.inverse_mass_matrix,
            tuned.L,
            step_size,
        )
        loss = posterior.loss_from_logdensity(state.position, state.logdensity)
        return state, (loss, jnp.logical_not(info.nonans))

    _, (loss, rejected) = jax.lax.scan(step, state, jnp.arange(config.draws * config.thinning))
    kept = slice(config.thinning - 1, None, config.thinning)
    steps = tuning_steps + jnp.arange(1, config.draws * config.thinning + 1)
    return Chain(
        loss=loss[kept],
        full_gradients=(GRADIENTS_PER_STEP * steps[kept]).astype(jnp.float64),
        acceptance=1 - jnp.mean(rejected.astype(jnp.float64)),
        divergences=jnp.sum(rejected.astype(jnp.int32)),
        step_size=step_size,
    )
