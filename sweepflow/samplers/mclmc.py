"""Microcanonical Langevin Monte Carlo on blackjax's kernel (Robnik, De Luca, Silverstein and Seljak 2023).

Unadjusted: its bias is bounded by the energy variance that the step size is tuned to. Tuning can run
away or freeze, so the tuned step size is cut to `max_step_size` and every step that was not finite is
counted.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers.kernels import import_blackjax, in_float64
from sweepflow.samplers.posterior import Chain, LocalPosterior, Position
from sweepflow.schema.sampler import MclmcSampler

GRADIENTS_PER_STEP = 2
"""Of the McLachlan integrator."""
MAX_LENGTH_STEPS = 300
"""Cap on the tuning steps that estimate L: they are the only ones whose positions are kept in memory."""


class MclmcRun(NamedTuple):
    """A chain between two steps.

    Attributes:
        chain: blackjax's state.
        length: L, the momentum's decoherence length.
        step_size: As tuned, and cut to the bound.
        inverse_mass_matrix: The diagonal preconditioner.
        loss: The trace, as far as it is.
        rejected: int32, steps that were not finite.
        tuning_steps: int32, steps that the tuning took.
    """

    chain: Any
    length: Float[Array, ""]
    step_size: Float[Array, ""]
    inverse_mass_matrix: Position
    loss: Float[Array, " draws"]
    rejected: Int[Array, ""]
    tuning_steps: Int[Array, ""]


def points(config: MclmcSampler) -> int:
    """Steps of a chain after its tuning, thinned ones included."""
    return config.draws * config.thinning


def chain(
    config: MclmcSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Course:
    """Tune L, step size and a diagonal preconditioner during warm-up, then draw one chain.

    A point is a step. blackjax tunes in one call, which cannot be cut: the first point has all of it.
    """
    del lane
    blackjax, posterior = import_blackjax(), in_float64(posterior)
    init_key, tune_key, draw_key = jax.random.split(key, 3)
    kernel = blackjax.mclmc.build_kernel()

    # blackjax's own code relies on implicit promotion.
    @jax.numpy_dtype_promotion("standard")
    def begin() -> MclmcRun:
        zero, none = jnp.zeros((), jnp.float64), jnp.zeros((), jnp.int32)
        return MclmcRun(
            chain=blackjax.mclmc.init(posterior.center, posterior.logdensity, init_key),
            length=zero,
            step_size=zero,
            inverse_mass_matrix=jnp.ones_like(posterior.center),
            loss=jnp.zeros(config.draws, jnp.float64),
            rejected=none,
            tuning_steps=none,
        )

    def tune(run: MclmcRun) -> MclmcRun:
        # blackjax spends a third more than frac_tune2 on readjusting the step size.
        length_steps = min(config.warmup // 4, MAX_LENGTH_STEPS)
        first = 0.4 * (config.warmup - length_steps)
        state, tuned, tuning_steps = blackjax.mclmc_find_L_and_step_size(
            kernel,
            max(config.warmup, 1),
            run.chain,
            tune_key,
            logdensity_fn=posterior.logdensity,
            frac_tune1=first / max(config.warmup, 1),
            frac_tune2=1.1 * first / max(config.warmup, 1),
            frac_tune3=length_steps / max(config.warmup, 1),
            desired_energy_var=traced["desired_energy_var"],
        )
        # A natural step grows with the square root of the dimension, and so does its bound.
        bound = traced["max_step_size"] * math.sqrt(posterior.center.size)
        return run._replace(
            chain=state,
            length=jnp.asarray(tuned.L, jnp.float64),
            step_size=jnp.minimum(tuned.step_size, bound),
            inverse_mass_matrix=tuned.inverse_mass_matrix,
            tuning_steps=jnp.asarray(tuning_steps, jnp.int32),
        )

    def step(number: Int[Array, ""], run: MclmcRun) -> MclmcRun:
        state, info = kernel(
            jax.random.fold_in(draw_key, number),
            run.chain,
            posterior.logdensity,
            run.inverse_mass_matrix,
            run.length,
            run.step_size,
        )
        loss = posterior.loss_from_logdensity(state.position, state.logdensity)
        # A kept draw is written over by those that thinning passes over, and comes last.
        point = number // jnp.int32(config.thinning)
        return run._replace(
            chain=state,
            loss=jax.lax.dynamic_update_index_in_dim(run.loss, loss, point, 0),
            rejected=run.rejected + jnp.logical_not(info.nonans).astype(jnp.int32),
        )

    @jax.numpy_dtype_promotion("standard")
    def advance(run: MclmcRun, start: Int[Array, ""], stop: Int[Array, ""]) -> MclmcRun:
        run = jax.lax.cond(start == 0, tune, lambda old: old, run)
        return jax.lax.fori_loop(start, stop, step, run)

    @jax.numpy_dtype_promotion("standard")
    def finish(run: MclmcRun) -> Chain:
        drawn = config.thinning * jnp.arange(1, config.draws + 1)
        return Chain(
            loss=run.loss,
            full_gradients=GRADIENTS_PER_STEP * (run.tuning_steps + drawn).astype(jnp.float64),
            acceptance=1 - run.rejected.astype(jnp.float64) / (config.draws * config.thinning),
            divergences=run.rejected,
            step_size=run.step_size,
        )

    return Course(begin, advance, finish)
