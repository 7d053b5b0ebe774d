"""Stochastic gradient Langevin dynamics, plain and preconditioned.

    w <- w - (eps/2) P (nbeta g + gamma (w - w0)) + sqrt(eps P) xi,    xi ~ N(0, I)

with g a minibatch gradient of L_n and P = 1 (plain) or 1 / (sqrt(v) + epsilon) elementwise, v the
bias-corrected second moment of g. With Adam, g is replaced by its bias-corrected first moment. The
moments see only the loss gradient, neither the localisation nor the noise: Hitchcock and Hoogland 2025
(From Global to Local: A Scalable Benchmark for Local Posterior Sampling), appendix D.3.

The Euler-Maruyama step is implemented here: blackjax's step promotes float32 positions to float64 wherever
64-bit numbers are enabled, and SGLD is run in float32.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.samplers.posterior import LocalPosterior, Position
from sweepflow.samplers.stochastic import Dynamics, Moved, langevin
from sweepflow.schema.sampler import SgldSampler


class SgldState(NamedTuple):
    """The state that the next step needs; the moments stay zero if the preconditioner does not use them."""

    position: Position
    first_moment: Position
    second_moment: Position
    step: Int[Array, ""]


def dynamics(config: SgldSampler, traced: dict[str, Float[Array, ""]], posterior: LocalPosterior) -> Dynamics:
    """The sampler's steps; see `stochastic.Dynamics`."""

    def begin(position: Position, key: PRNGKeyArray) -> SgldState:
        del key
        zeros = jnp.zeros_like(position)
        return SgldState(position, zeros, zeros, jnp.zeros((), jnp.int32))

    def probe(
        state: SgldState, step_size: Float[Array, ""], share: Float[Array, ""], tuning: Bool[Array, ""]
    ) -> Position:
        del step_size, share, tuning
        return state.position

    def step(
        state: SgldState,
        g: Position,
        step_size: Float[Array, ""],
        share: Float[Array, ""],
        noise: Position,
        tuning: Bool[Array, ""],
    ) -> Moved:
        del tuning
        state, drift_gradient, scaling = _precondition(config, traced, state, g)
        slope = posterior.nbeta * drift_gradient + posterior.gamma * (state.position - posterior.center)
        return langevin(state, slope, step_size * share * scaling, noise)

    def restart(state: SgldState, position: Position) -> SgldState:
        # What the moments know of the gradients stays, so far as it is finite.
        first, second = (jnp.where(jnp.isfinite(m), m, 0) for m in (state.first_moment, state.second_moment))
        return SgldState(position, first, second, state.step)

    return Dynamics(begin, probe, step, lambda state: _scaling(config, traced, state), restart)


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
    state = state._replace(second_moment=second)
    scaling = _scaling(config, traced, state._replace(step=state.step + 1))
    if config.preconditioner == "rmsprop":
        return state, g, scaling
    b1 = traced["b1"].astype(dtype)
    first = b1 * state.first_moment + (1 - b1) * g
    return state._replace(first_moment=first), first / (1 - b1**count), scaling


def _scaling(
    config: SgldSampler, traced: dict[str, Float[Array, ""]], state: SgldState
) -> Position | Float[Array, ""]:
    """Return P from the moments after `state.step` steps; before the first, as if no gradient was ever
    seen."""
    dtype = state.position.dtype
    if config.preconditioner == "none":
        return jnp.ones((), dtype)
    seen = 1 - traced["b2"].astype(dtype) ** jnp.maximum(state.step, 1).astype(dtype)
    return 1 / (jnp.sqrt(state.second_moment / seen) + traced["epsilon"].astype(dtype))
