"""Hamiltonian Monte Carlo and NUTS with Stan's window adaptation, on blackjax's kernels.

Warm-up tunes the step size (dual averaging to `target_acceptance`) and a diagonal mass matrix.

The number of steps of an HMC trajectory is uniform on 1 to `num_integration_steps`. In a nearly quadratic
basin all directions have the same frequency once the mass matrix is right, and trajectories of one length
would come back to their start (Neal 2011, section 3.2). The number of steps follows from the trajectory's
number by van der Corput's sequence, whose values are spread more evenly than random ones (Hoffman, Radul and
Sountsov 2021, section 3, jitter by a Halton sequence). It is the same for all chains, so that the chains of a
vector do not wait for the longest trajectory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers import warmup
from sweepflow.samplers.kernels import import_blackjax, in_float64
from sweepflow.samplers.posterior import Chain, LocalPosterior
from sweepflow.samplers.warmup import WarmupState
from sweepflow.schema.sampler import HmcSampler, NutsSampler


class HmcRun(NamedTuple):
    """A chain between two trajectories.

    Attributes:
        chain: blackjax's state.
        warmup: State of the adaptation; it does not change after the last warm-up step.
        loss, full_gradients, acceptance, rejected, distance: The traces so far; acceptance is the mean over
            the trajectories that belong to a point.
        spent: int64, number of gradients so far.
    """

    chain: Any
    warmup: WarmupState
    loss: Float[Array, " points"]
    full_gradients: Float[Array, " points"]
    acceptance: Float[Array, " points"]
    rejected: Bool[Array, " points"]
    distance: Float[Array, " points"]
    spent: Int[Array, ""]


def integration_steps(number: Int[Array, ""], most: int) -> Int[Array, ""]:
    """Return the number of steps of a trajectory, 1 to `most`, from the trajectory's number.

    It is 1 + floor(most x), with x the number's 32 bits in reverse order behind the binary point.
    """
    bits = number.astype(jnp.uint64)
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        width, low = jnp.uint64(shift), jnp.uint64(mask)
        bits = ((bits & low) << width) | ((bits >> width) & low)
    return (1 + ((bits * jnp.uint64(most)) >> jnp.uint64(32))).astype(jnp.int32)


def chain(
    config: HmcSampler | NutsSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
    length: int,
) -> Course:
    """Adapt, then draw one chain; each chain adapts by itself. A point is a trajectory, and a draw has
    `thinning` of them."""
    key = jax.random.fold_in(key, lane)
    blackjax, posterior = import_blackjax(), in_float64(posterior)
    algorithm: Any = blackjax.hmc if isinstance(config, HmcSampler) else blackjax.nuts
    kernel = algorithm.build_kernel()
    slow, last_of_window = (jnp.asarray(rows) for rows in warmup.schedule(config.warmup))

    # blackjax's own code relies on implicit promotion.
    @jax.numpy_dtype_promotion("standard")
    def begin() -> HmcRun:
        trace = jnp.zeros(length, jnp.float64)
        return HmcRun(
            chain=algorithm.init(posterior.center, posterior.logdensity),
            warmup=warmup.begin(posterior.center, traced["initial_step_size"]),
            loss=trace,
            full_gradients=trace,
            acceptance=trace,
            rejected=jnp.zeros(length, bool),
            distance=jnp.zeros(length, jnp.float32),
            spent=jnp.zeros((), jnp.int64),
        )

    def step_size_of_draws(run: HmcRun) -> Float[Array, ""]:
        return run.warmup.tuned_step_size if config.warmup else run.warmup.step_size

    def trajectory(number: Int[Array, ""], run: HmcRun) -> HmcRun:
        warming = number < config.warmup
        extra = (
            {"num_integration_steps": integration_steps(number, config.num_integration_steps)}
            if isinstance(config, HmcSampler)
            else {"max_num_doublings": config.max_num_doublings}
        )
        state, info = kernel(
            jax.random.fold_in(key, number),
            run.chain,
            posterior.logdensity,
            jnp.where(warming, run.warmup.step_size, step_size_of_draws(run)),
            run.warmup.inverse_mass_matrix,
            **extra,
        )
        acceptance = info.acceptance_rate.astype(jnp.float64)
        spent = run.spent + jnp.asarray(info.num_integration_steps, jnp.int64)
        # A kept draw is written over by those that thinning passes over, and comes last.
        point = jnp.where(
            warming, number, config.warmup + (number - config.warmup) // jnp.int32(config.thinning)
        )
        write, read = jax.lax.dynamic_update_index_in_dim, jax.lax.dynamic_index_in_dim
        each = jnp.where(warming, 1, config.thinning)
        is_first = warming | ((number - config.warmup) % jnp.int32(config.thinning) == 0)
        before = [
            jnp.where(is_first, jnp.zeros((), trace.dtype), read(trace, point, 0, keepdims=False))
            for trace in (run.acceptance, run.rejected)
        ]
        distance = jnp.linalg.norm(state.position - posterior.center)
        adapted = run.warmup
        if config.warmup:
            row = jnp.minimum(number, config.warmup - 1)
            adapted = jax.lax.cond(
                warming,
                lambda old: warmup.update(
                    old,
                    state.position,
                    acceptance,
                    traced["target_acceptance"],
                    slow[row],
                    last_of_window[row],
                ),
                lambda old: old,
                adapted,
            )
        return HmcRun(
            chain=state,
            warmup=adapted,
            loss=write(run.loss, posterior.loss_from_logdensity(state.position, state.logdensity), point, 0),
            full_gradients=write(run.full_gradients, spent.astype(jnp.float64), point, 0),
            spent=spent,
            acceptance=write(run.acceptance, before[0] + acceptance / each, point, 0),
            rejected=write(run.rejected, before[1] | info.is_divergent, point, 0),
            distance=write(run.distance, distance.astype(jnp.float32), point, 0),
        )

    @jax.numpy_dtype_promotion("standard")
    def advance(run: HmcRun, start: Int[Array, ""], stop: Int[Array, ""]) -> HmcRun:
        return jax.lax.fori_loop(start, stop, trajectory, run)

    def finish(run: HmcRun) -> Chain:
        return Chain(
            loss=run.loss,
            full_gradients=run.full_gradients,
            rejected=run.rejected,
            traces={"acceptance": run.acceptance.astype(jnp.float32), "distance": run.distance},
            step_size=step_size_of_draws(run),
            restarts=jnp.zeros((), jnp.int32),
        )

    return Course(begin, advance, finish)
