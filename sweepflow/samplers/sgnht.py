"""The stochastic gradient Nosé-Hoover thermostat (Ding et al. 2014), in a symmetric splitting.

    dw = p dt,    dp = -grad U dt - xi p dt + sqrt(2 A) dW,    dxi = (p.p / d - 1) dt

The thermostat xi absorbs the noise of minibatch gradients, whose size need not be known: xi settles above the
friction A by as much as the noise heats the momentum.

A step of length h consists of half a drift A of w, half a kick B by the minibatch gradient there, half a step
D of xi, an exact Ornstein-Uhlenbeck step O of p, and D, B, A again (Leimkuhler and Shang 2016, Adaptive
thermostats for noisy gradient systems). It takes one gradient, and its error in averages is of order h^2,
while Euler's is of order h. `step_size` is h^2, so that it has the size of SGLD's step size: a step of MALA
is a step of this sampler with a fresh momentum.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.samplers.posterior import LocalPosterior, Position
from sweepflow.samplers.stochastic import Dynamics, Moved, langevin


class SgnhtState(NamedTuple):
    """The state that the next step needs.

    Attributes:
        position, momentum: w and p.
        thermostat: xi.
        step: Number of steps so far.
    """

    position: Position
    momentum: Position
    thermostat: Float[Array, ""]
    step: Int[Array, ""]


def dynamics(traced: dict[str, Float[Array, ""]], posterior: LocalPosterior) -> Dynamics:
    """The sampler's steps; see `stochastic.Dynamics`."""
    dtype = posterior.center.dtype
    friction = traced["friction"].astype(dtype)

    def begin(position: Position, key: PRNGKeyArray) -> SgnhtState:
        momentum = jax.random.normal(key, position.shape, dtype)
        return SgnhtState(position, momentum, friction, jnp.zeros((), jnp.int32))

    def probe(
        state: SgnhtState, step_size: Float[Array, ""], share: Float[Array, ""], tuning: Bool[Array, ""]
    ) -> Position:
        drifted = state.position + 0.5 * jnp.sqrt(step_size) * share * state.momentum
        return jnp.where(tuning, state.position, drifted)

    def step(
        state: SgnhtState,
        g: Position,
        step_size: Float[Array, ""],
        share: Float[Array, ""],
        noise: Position,
        tuning: Bool[Array, ""],
    ) -> Moved:
        at = probe(state, step_size, share, tuning)
        slope = posterior.nbeta * g + posterior.gamma * (at - posterior.center)

        def thermostat(state: SgnhtState) -> Moved:
            h = jnp.sqrt(step_size) * share
            kick = 0.5 * h * slope
            p = state.momentum - kick
            xi = state.thermostat + 0.5 * h * (jnp.mean(p * p) - 1)
            random = jnp.sqrt(friction * _relaxed(xi, h)) * noise
            p = jnp.exp(-xi * h) * p + random
            xi = xi + 0.5 * h * (jnp.mean(p * p) - 1)
            p = p - kick
            moved = state._replace(position=at + 0.5 * h * p, momentum=p, thermostat=xi)
            return Moved(moved, 2 * kick, random)

        tuned = langevin(state, slope, step_size, noise)
        return jax.tree.map(lambda a, b: jnp.where(tuning, a, b), tuned, thermostat(state))

    def restart(state: SgnhtState, position: Position) -> SgnhtState:
        return state._replace(position=position)

    return Dynamics(begin, probe, step, lambda state: jnp.ones((), dtype), restart)


def _relaxed(xi: Float[Array, ""], h: Float[Array, ""]) -> Float[Array, ""]:
    """(1 - exp(-2 xi h)) / xi, which is 2 h at xi = 0."""
    x = 2 * xi * h
    small = jnp.abs(x) < 1e-4
    return jnp.where(
        small, 2 * h * (1 - 0.5 * x), -jnp.expm1(-jnp.where(small, 1.0, x)) / jnp.where(small, 1.0, xi)
    )
