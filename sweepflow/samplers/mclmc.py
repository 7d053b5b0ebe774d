"""Microcanonical Langevin Monte Carlo on blackjax's kernel (Robnik, De Luca, Silverstein and Seljak 2023).

The sampler is unadjusted: its bias is bounded by the energy variance that the step size is tuned to. Tuning
can diverge or freeze, so the tuned step size is cut to `max_step_size` and every step that was not finite is
counted.

The steps of the tuning and the draws are one loop: the kernel contains the network's gradient twice, and each
further copy would be compiled separately. For the same reason, the gradient at w0 comes from a step of size
zero, which comes before all other steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers import mclmc_tuning
from sweepflow.samplers.kernels import import_blackjax, in_float64
from sweepflow.samplers.mclmc_tuning import Shifts, TuningState
from sweepflow.samplers.posterior import Chain, LocalPosterior
from sweepflow.schema.sampler import MclmcSampler

GRADIENTS_PER_STEP = 2
"""Number of gradients of a step of the McLachlan integrator."""
KERNEL_KEYS = 3
"""Number of keys that the kernel makes itself; splitting and folding in give them the same numbers."""


class MclmcRun(NamedTuple):
    """A chain between two steps.

    Attributes:
        chain: blackjax's state.
        tuning: State of the tuning; it does not change after the last tuning step.
        shifts: Positions minus w0 that the tuning of L has kept so far.
        loss, energy_error, rejected, distance: The traces so far.
    """

    chain: Any
    tuning: TuningState
    shifts: Shifts
    loss: Float[Array, " draws"]
    energy_error: Float[Array, " draws"]
    rejected: Bool[Array, " draws"]
    distance: Float[Array, " draws"]


def chain(
    config: MclmcSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
    length: int,
) -> Course:
    """Tune L, step size and a diagonal preconditioner during warm-up, then draw one chain.

    A point is a step.
    """
    first, steps = jax.random.split(jax.random.fold_in(key, lane))
    return course(config, traced, posterior, first, lambda number: jax.random.fold_in(steps, number), length)


def course(
    config: MclmcSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    first_key: PRNGKeyArray,
    key_of_step: Callable[[Int[Array, ""]], PRNGKeyArray],
    length: int,
) -> Course:
    """Return a chain whose first momentum is drawn with one key, and each step with the key for its number.

    Its trace has room for `length` draws.
    """
    blackjax, posterior = import_blackjax(), in_float64(posterior)
    kernel = blackjax.mclmc.build_kernel()
    stages = mclmc_tuning.plan(config.warmup)
    center = posterior.center

    # blackjax's own code relies on implicit promotion.
    @jax.numpy_dtype_promotion("standard")
    def begin() -> MclmcRun:
        return MclmcRun(
            chain=blackjax.mclmc.init(center, lambda w: jnp.zeros((), w.dtype), first_key),
            tuning=mclmc_tuning.begin(center),
            # A row even where none is kept: JAX does not spread an empty array over devices.
            shifts=jnp.zeros((max(1, stages.length), center.size), jnp.float32),
            loss=jnp.zeros(length, jnp.float64),
            energy_error=jnp.zeros(length, jnp.float32),
            rejected=jnp.zeros(length, bool),
            distance=jnp.zeros(length, jnp.float32),
        )

    def step_size_of_draws(run: MclmcRun) -> Float[Array, ""]:
        # A natural step grows with the square root of the dimension, and so does its bound.
        return jnp.minimum(run.tuning.step_size, traced["max_step_size"] * math.sqrt(center.size))

    def step(number: Int[Array, ""], run: MclmcRun) -> MclmcRun:
        key, tuning, at_center = key_of_step(number), run.tuning, number < 0
        step_size = jnp.where(number < stages.steps, tuning.step_size, step_size_of_draws(run))
        state, info = kernel(
            key,
            run.chain,
            posterior.logdensity,
            tuning.inverse_mass_matrix,
            tuning.decoherence_length,
            jnp.where(at_center, 0.0, step_size),
        )
        # The kernel goes back to where it was, but there nothing was known yet.
        unknown = at_center & ~info.nonans
        state = state._replace(logdensity=jnp.where(unknown, jnp.nan, state.logdensity))
        if stages.adapting:
            state, tuning = jax.lax.cond(
                ~at_center & (number < stages.adapting),
                lambda new, old: mclmc_tuning.update(
                    stages,
                    old,
                    number,
                    (run.chain, new),
                    info,
                    jax.random.fold_in(key, KERNEL_KEYS),
                    traced["desired_energy_var"],
                ),
                lambda new, old: (new, old),
                state,
                tuning,
            )
        shifts = mclmc_tuning.keep(stages, run.shifts, number, state.position, center)
        if stages.length:
            length = jax.lax.cond(
                number == stages.steps - 1,
                lambda: mclmc_tuning.tuned_length(shifts, tuning),
                lambda: tuning.decoherence_length,
            )
            tuning = tuning._replace(decoherence_length=length)
        loss = posterior.loss_from_logdensity(state.position, state.logdensity)
        # A kept draw is written over by those that thinning passes over, and comes last.
        drawn = number - stages.steps
        point = jnp.maximum(drawn, 0) // jnp.int32(config.thinning)
        distance = jnp.linalg.norm(state.position - center)
        write = jax.lax.dynamic_update_index_in_dim
        is_first = jnp.maximum(drawn, 0) % jnp.int32(config.thinning) == 0
        rejected = jax.lax.dynamic_index_in_dim(run.rejected, point, keepdims=False) & ~is_first
        return MclmcRun(
            chain=state,
            tuning=tuning,
            shifts=shifts,
            loss=write(run.loss, loss, point, 0),
            energy_error=write(run.energy_error, info.energy_change.astype(jnp.float32), point, 0),
            rejected=write(run.rejected, rejected | ~info.nonans, point, 0),
            distance=write(run.distance, distance.astype(jnp.float32), point, 0),
        )

    @jax.numpy_dtype_promotion("standard")
    def advance(run: MclmcRun, start: Int[Array, ""], stop: Int[Array, ""]) -> MclmcRun:
        return jax.lax.fori_loop(jnp.where(start == 0, -1, start), stop, step, run)

    @jax.numpy_dtype_promotion("standard")
    def finish(run: MclmcRun) -> Chain:
        drawn = config.thinning * jnp.arange(1, length + 1)
        return Chain(
            loss=run.loss,
            full_gradients=GRADIENTS_PER_STEP * (stages.steps + drawn).astype(jnp.float64),
            rejected=run.rejected,
            traces={"energy_error": run.energy_error, "distance": run.distance},
            step_size=step_size_of_draws(run),
            restarts=jnp.zeros((), jnp.int32),
        )

    return Course(begin, advance, finish)
