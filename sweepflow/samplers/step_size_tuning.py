"""Search for the longest step that adds little to lambda-hat, judged by a Metropolis correction.

The correction is that of MALA (Roberts and Tweedie 1996): from w, with the gradient on all rows, propose

    w' = w - (eps/2) P grad U(w) + sqrt(eps P) xi,    U(w) = nbeta L_n(w) + (gamma/2) ||w - w0||^2,

and accept it with probability min(1, exp(U(w) - U(w')) q(w | w') / q(w' | w)), q the proposal's density and P
the preconditioner, held fixed. SGLD takes such steps without the correction. So the rate at which the
correction would reject steps shows how far from the posterior the chains settle, for any data, network and
gamma.

In each of 2 lambda directions of precision a, the energy error of a step has variance (eps a)^3 / 16. With
s^2 the sum of these variances, a proposal is accepted with probability erfc(s / sqrt 8) (Roberts and
Rosenthal 1998, theorem 2). Without the correction the variance of each direction, and so lambda-hat, is
higher by the share eps a / 4. So with few directions, more steps have to be accepted than with many. The
wanted acceptance is the one at which that share is `STEP_SHARE`, with the observed energy E[nbeta (L_n(w) -
L_n(w0))] in place of lambda. It is kept within bounds: among many directions, a few may be far steeper than
the rest, and with few directions, every step would have to be accepted.

The correction does not include the noise of minibatch gradients, which acts on a chain like heat. Let S be
the covariance of this noise. In a direction of stationary variance 1, the noise adds (eps/4) P S to that
variance, and so

    (eps/8) sum_i P_i S_ii    at most to lambda-hat.

Steps are shortened until that is `NOISE_SHARE` of lambda-hat. For this, let w be the wanted acceptance and q
the share of the noise: the acceptance counts as at most 1 - (1 - w) q / `NOISE_SHARE`.

Dual averaging is blackjax's (Hoffman and Gelman 2014, section 3.2), with the plain mean of all blocks since
it was begun (kappa = 1): the acceptance of a step depends on the position of the chain, which changes slowly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.samplers.kernels import import_blackjax
from sweepflow.samplers.posterior import LocalPosterior, Position

INITIAL = 0.1
"""Start of the search, in units of 1 / (nbeta + gamma): the step for a curvature of 1 would be 20 times
that."""
LEAST, MOST = 1e-14, 1e4
"""Bounds of a tuned step size: a loss that does not depend on w, without localisation, would accept any."""
STEP_SHARE = 0.075
"""Share of lambda-hat that the length of the step may add to it, if all directions are equal; the steeper of
unequal directions come to less. It is measured and subtracted."""
MOST_WANTED = 0.92
"""Maximum acceptance that is wanted, for few directions: the error of their estimate is larger, too."""
NOISE_SHARE = 0.05
"""Share of lambda-hat that the noise of minibatches may add to it; it is measured and subtracted."""
ENERGY_MEMORY = 32
"""Number of blocks over which the energy is averaged."""
LEAST_ENERGY = 0.5
"""The energy of a single direction of any curvature."""
AWAY = 10.0
"""A chain whose energy is above this many times d + 10 has left for good: the step was far too large for it.
In equilibrium the energy is at most d/2, plus or minus a few sqrt(d/2)."""


class Proposal(NamedTuple):
    """A Metropolis proposal.

    Attributes:
        position: w'.
        acceptance: Probability that it is accepted, float64; 0 where anything is not finite.
        energy: nbeta (L_n(w) - L_n(w0)) at the position of the chain.
        noise: Upper bound of what the noise of minibatches adds to the mean energy, (eps/8) sum_i P_i S_ii; 0
            if there are no minibatches.
        away: Whether the chain, not the proposal, is at a place where no chain in equilibrium would be.
    """

    position: Position
    acceptance: Float[Array, ""]
    energy: Float[Array, ""]
    noise: Float[Array, ""]
    away: Bool[Array, ""]


class TuningState(NamedTuple):
    """The state that the next block of the warm-up needs.

    Attributes:
        averaging: blackjax's state of dual averaging.
        energy: Mean of the proposals' energies, over about the last `ENERGY_MEMORY` blocks.
        restarts: int32, number of times that a chain was put back to w0 because its step was too large.
    """

    averaging: Any
    energy: Float[Array, ""]
    restarts: Int[Array, ""]


# blackjax's own code relies on implicit promotion.
@jax.numpy_dtype_promotion("standard")
def begin(posterior: LocalPosterior) -> TuningState:
    """The state before the first block."""
    averaging = _averaging(0.5)[0](INITIAL / (posterior.nbeta + posterior.gamma).astype(jnp.float64))
    zero = jnp.zeros((), jnp.float64)
    return TuningState(jax.tree.map(jnp.asarray, averaging), zero, jnp.zeros((), jnp.int32))


def step_size(state: TuningState) -> Float[Array, ""]:
    """Return the step size of the next block."""
    return jnp.clip(jnp.exp(state.averaging.log_step_size), LEAST, MOST)


def tuned_step_size(state: TuningState) -> Float[Array, ""]:
    """Return the step size that the warm-up has found."""
    return jnp.clip(jnp.exp(state.averaging.log_step_size_avg), LEAST, MOST)


@jax.numpy_dtype_promotion("standard")
def update(
    state: TuningState, proposal: Proposal, least: Float[Array, ""], renew: Bool[Array, ""]
) -> TuningState:
    """Return the state after a block.

    Args:
        state: State before the block.
        proposal: The proposal at the end of the block.
        least: The least acceptance that is wanted.
        renew: Whether to forget what was seen so far, except the step size that it led to.
    """
    moved = state.energy + (proposal.energy - state.energy) / ENERGY_MEMORY
    energy = jnp.where(renew, proposal.energy, moved)
    energy = jnp.where(proposal.away, state.energy, energy)
    size = jnp.maximum(energy, LEAST_ENERGY)
    wanted = jnp.maximum(least, jnp.minimum(acceptance_at_share(size), MOST_WANTED))
    begun, average, mean = _averaging(wanted)
    share = proposal.noise / size
    as_accepted = jnp.maximum(1 - (1 - wanted) * share / NOISE_SHARE, 0.0)
    averaged = average(state.averaging, jnp.minimum(proposal.acceptance, as_accepted))
    found = mean(averaged)
    # blackjax pulls to ten times what it is given.
    anew = begun(found / 10)._replace(log_step_size=jnp.log(found))
    averaging = jax.tree.map(
        lambda old, a, b: jnp.where(renew, b, a).astype(old.dtype), state.averaging, averaged, anew
    )
    return TuningState(averaging, energy, state.restarts + proposal.away.astype(jnp.int32))


def propose(
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    position: Position,
    step_size: Float[Array, ""],
    scaling: Position | Float[Array, ""],
    loss_0: Float[Array, ""],
    minibatch: Callable[[PRNGKeyArray, Position], Position] | None = None,
) -> Proposal:
    """Make a Metropolis proposal from a position, with two gradients on all rows, and one on a minibatch.

    Args:
        posterior: Posterior to draw from.
        key: Key of the noise.
        position: w.
        step_size: eps, in any float dtype.
        scaling: P, elementwise or one number, in w's dtype.
        loss_0: L_n(w0), float64.
        minibatch: The gradient of L_n on a minibatch; None if all rows are used, or if its noise is not asked
            for.
    """
    dtype = position.dtype
    variance = step_size.astype(dtype) * scaling
    noise = jax.random.normal(key, position.shape, dtype)

    def energy(w: Position) -> Float[Array, ""]:
        shift = (w - posterior.center).astype(jnp.float64)
        nbeta, gamma = posterior.nbeta.astype(jnp.float64), posterior.gamma.astype(jnp.float64)
        return nbeta * posterior.loss(w) + 0.5 * gamma * jnp.dot(shift, shift)

    # One copy of the gradient in the program: the second turn of the loop is at the proposal.
    def evaluate(turn: Int[Array, ""], seen: tuple[Any, ...]) -> tuple[Any, ...]:
        energies, gradients, w = seen
        value, gradient = jax.value_and_grad(energy)(w)
        write = jax.lax.dynamic_update_index_in_dim
        moved = position - 0.5 * variance * gradient + jnp.sqrt(variance) * noise
        return write(energies, value, turn, 0), write(gradients, gradient, turn, 0), jnp.where(turn, w, moved)

    nothing = jnp.zeros(2, jnp.float64), jnp.zeros((2, position.size), dtype), position
    energies, gradients, proposed = jax.lax.fori_loop(0, 2, evaluate, nothing)
    back = (position - proposed + 0.5 * variance * gradients[1]).astype(jnp.float64)
    forth = jnp.sum(jnp.square(noise.astype(jnp.float64)))
    log_ratio = (
        energies[0] - energies[1] + 0.5 * (forth - jnp.sum(jnp.square(back) / variance.astype(jnp.float64)))
    )
    acceptance = jnp.exp(jnp.minimum(0.0, log_ratio))
    rise = energies[0] - posterior.nbeta.astype(jnp.float64) * loss_0
    shift = (position - posterior.center).astype(jnp.float64)
    localised = 0.5 * posterior.gamma.astype(jnp.float64) * jnp.dot(shift, shift)
    away = ~(rise < AWAY * (position.size + 10.0))  # NaN is away, too
    added = jnp.zeros((), jnp.float64)
    if minibatch is not None:
        pulled = posterior.nbeta * minibatch(jax.random.fold_in(key, 1), position)
        heat = pulled + posterior.gamma * (position - posterior.center) - gradients[0]
        added = jnp.sum((variance * jnp.square(heat)).astype(jnp.float64)) / 8
    return Proposal(
        position=proposed,
        acceptance=jnp.where(jnp.isfinite(acceptance) & ~away, acceptance, 0.0),
        energy=rise - localised,
        noise=added,
        away=away,
    )


def bias_share(acceptance: float, llc: float) -> float:
    """Return the share of lambda-hat that a step size adds to it, from the rate at which MALA would accept
    the step.

    Args:
        acceptance: Acceptance rate of MALA, in (0, 1).
        llc: lambda-hat; a value below `LEAST_ENERGY` counts as `LEAST_ENERGY`.

    >>> round(bias_share(0.9, 5.0), 3), round(bias_share(0.56, 30.0), 3)
    (0.116, 0.178)
    """
    from scipy.special import erfcinv  # not for commands that estimate nothing

    spread = math.sqrt(8) * float(erfcinv(acceptance))
    return float((16 * spread**2 / (2 * max(llc, LEAST_ENERGY))) ** (1 / 3) / 4)


def acceptance_at_share(llc: Float[Array, ""]) -> Float[Array, ""]:
    """Return the acceptance of a MALA step that adds `STEP_SHARE` to lambda-hat: the inverse of `bias_share`.

    Args:
        llc: lambda-hat, float64.

    >>> round(float(acceptance_at_share(jnp.asarray(5.0))), 3)
    0.948
    """
    spread = jnp.sqrt((4 * STEP_SHARE) ** 3 * 2 * llc / 16)
    return jax.scipy.special.erfc(spread / math.sqrt(8))


def _averaging(target: Any) -> Any:
    """Return blackjax's functions of dual averaging: for the first state, the next state, and the final
    value."""
    import_blackjax()
    from blackjax.adaptation.step_size import dual_averaging_adaptation

    return dual_averaging_adaptation(target, kappa=1.0)
