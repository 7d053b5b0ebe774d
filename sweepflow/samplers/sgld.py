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


def init(position: Position) -> SgldState:
    """The state before the first step."""
    zeros = jnp.zeros_like(position)
    return SgldState(position, zeros, zeros, jnp.zeros((), jnp.int32))


def recorded_blocks(config: SgldSampler) -> tuple[int, int]:
    """Blocks of `thinning` steps in warm-up (rounded up) and in all; L_n is recorded after each."""
    warmup = -(-config.warmup // config.thinning)
    return warmup, warmup + config.draws


def sample(
    config: SgldSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Chain:
    """Run one chain; lanes past `config.chains` are bias chains at a quarter of the step size."""
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

    def block(state: SgldState, _: None) -> tuple[SgldState, Float[Array, ""]]:
        state, _ = jax.lax.scan(step, state, None, config.thinning)
        return state, posterior.loss(state.position)

    _, blocks = recorded_blocks(config)
    _, loss = jax.lax.scan(block, init(posterior.center), None, blocks)
    rows = posterior.rows
    batch_share = min(config.batch_size or rows, rows) / rows
    cost_per_block = config.thinning * batch_share + FORWARD_COST
    return Chain(
        loss=loss,
        full_gradients=cost_per_block * jnp.arange(1, blocks + 1, dtype=jnp.float64),
        acceptance=jnp.asarray(jnp.nan, jnp.float64),
        divergences=jnp.zeros((), jnp.int32),
        step_size=step_size.astype(jnp.float64),
    )


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
