"""Stochastic gradient Langevin dynamics, plain and preconditioned.

    w <- w - (eps/2) P (nbeta g + gamma (w - w0)) + sqrt(eps P) xi,    xi ~ N(0, I)

with g a minibatch gradient of L_n and P = 1 (plain) or 1 / (sqrt(v) + epsilon) elementwise, v the
bias-corrected second moment of g. With Adam, g is replaced by its bias-corrected first moment. The
moments see only the loss gradient, neither the localisation nor the noise: Hitchcock and Hoogland 2025
(From Global to Local: A Scalable Benchmark for Local Posterior Sampling), appendix D.3.

The Euler-Maruyama step is written here: blackjax's promotes float32 positions to float64 wherever 64-bit
numbers are enabled, and float32 is what SGLD is run in.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers.posterior import FORWARD_COST, Chain, LocalPosterior, Position
from sweepflow.schema.sampler import SgldSampler

BIAS_STEP = 0.25
"""Step size of the bias chains, relative to the others'."""


class SgldState(NamedTuple):
    """What the next step needs; the moments stay zero where the preconditioner does not use them."""

    position: Position
    first_moment: Position
    second_moment: Position
    step: Int[Array, ""]


class SgldRun(NamedTuple):
    """A chain between two blocks of steps, and the trace as far as it is."""

    chain: SgldState
    loss: Float[Array, " points"]


def init(position: Position) -> SgldState:
    """The state before the first step."""
    zeros = jnp.zeros_like(position)
    return SgldState(position, zeros, zeros, jnp.zeros((), jnp.int32))


def recorded_blocks(config: SgldSampler) -> tuple[int, int]:
    """Blocks of `thinning` steps in warm-up (rounded up) and in all; L_n is recorded after each."""
    warmup = -(-config.warmup // config.thinning)
    return warmup, warmup + config.draws


def points(config: SgldSampler) -> int:
    """Blocks of a chain."""
    return recorded_blocks(config)[1]


def chain(
    config: SgldSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Course:
    """Run one chain; lanes past `config.chains` are bias chains at a quarter of the step size.

    A point is a block of `thinning` steps.
    """
    dtype = posterior.center.dtype
    scale = jnp.where(lane < config.chains, 1.0, BIAS_STEP)
    step_size = (traced["step_size"] * scale).astype(dtype)
    gradient = posterior.minibatch_gradient(config.batch_size)

    def step(state: SgldState, _: None) -> tuple[SgldState, None]:
        # The key is a function of the step's number alone, so a chain can be cut anywhere and resumed.
        batch_key, noise_key = jax.random.split(jax.random.fold_in(key, state.step))
        g = gradient(batch_key, state.position)
        state, drift_gradient, scaling = _precondition(config, traced, state, g)
        w = state.position
        drift = posterior.nbeta * drift_gradient + posterior.gamma * (w - posterior.center)
        noise = jax.random.normal(noise_key, w.shape, dtype)
        w = w - 0.5 * step_size * scaling * drift + jnp.sqrt(step_size * scaling) * noise
        return state._replace(position=w, step=state.step + 1), None

    def block(number: Int[Array, ""], run: SgldRun) -> SgldRun:
        state, _ = jax.lax.scan(step, run.chain, None, config.thinning)
        loss = posterior.loss(state.position)
        return SgldRun(state, jax.lax.dynamic_update_index_in_dim(run.loss, loss, number, 0))

    def begin() -> SgldRun:
        return SgldRun(init(posterior.center), jnp.zeros(points(config), jnp.float64))

    def advance(run: SgldRun, start: Int[Array, ""], stop: Int[Array, ""]) -> SgldRun:
        return jax.lax.fori_loop(start, stop, block, run)

    def finish(run: SgldRun) -> Chain:
        rows = posterior.rows
        batch_share = min(config.batch_size or rows, rows) / rows
        cost_per_block = config.thinning * batch_share + FORWARD_COST
        return Chain(
            loss=run.loss,
            full_gradients=cost_per_block * jnp.arange(1, points(config) + 1, dtype=jnp.float64),
            acceptance=jnp.asarray(jnp.nan, jnp.float64),
            divergences=jnp.zeros((), jnp.int32),
            step_size=step_size.astype(jnp.float64),
        )

    return Course(begin, advance, finish)


def _precondition(
    config: SgldSampler, traced: dict[str, Float[Array, ""]], state: SgldState, g: Position
) -> tuple[SgldState, Position, Position | Float[Array, ""]]:
    """Update the moments with g; return the state, the gradient to drift along, and P."""
    dtype = g.dtype
    if config.preconditioner == "none":
        return state, g, jnp.ones((), dtype)
    count = (state.step + 1).astype(dtype)
    b2 = traced["b2"].astype(dtype)
    second = b2 * state.second_moment + (1 - b2) * g * g
    scaling = 1 / (jnp.sqrt(second / (1 - b2**count)) + traced["epsilon"].astype(dtype))
    state = state._replace(second_moment=second)
    if config.preconditioner == "rmsprop":
        return state, g, scaling
    b1 = traced["b1"].astype(dtype)
    first = b1 * state.first_moment + (1 - b1) * g
    return state._replace(first_moment=first), first / (1 - b1**count), scaling
