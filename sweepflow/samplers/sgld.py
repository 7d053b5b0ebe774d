"""Stochastic gradient Langevin dynamics, plain and preconditioned.

    w <- w - (eps/2) P (nbeta g + gamma (w - w0)) + sqrt(eps P) xi,    xi ~ N(0, I)

with g a minibatch gradient of L_n and P = 1 (plain) or 1 / (sqrt(v) + epsilon) elementwise, v the
bias-corrected second moment of g. With Adam, g is replaced by its bias-corrected first moment. The
moments see only the loss gradient, neither the localisation nor the noise: Hitchcock and Hoogland 2025
(From Global to Local: A Scalable Benchmark for Local Posterior Sampling), appendix D.3.

A step size that is not given is found in the first blocks of the warm-up (`sgld_tuning`). All chains of a
trial go through them with the same random numbers, so all find the same one.

A bias chain takes two steps of half the size for each of the chain whose number it has, driven by the same
Brownian motion: of its increment xi, the halves are (xi + eta) / sqrt 2 and (xi - eta) / sqrt 2. So what the
two chains' losses differ by is the step size's doing, and not chance's (Giles 2008, Multilevel Monte Carlo
path simulation). Minibatches are its own, since their noise is a part of the bias.

The Euler-Maruyama step is written here: blackjax's promotes float32 positions to float64 wherever 64-bit
numbers are enabled, and float32 is what SGLD is run in.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers import sgld_tuning
from sweepflow.samplers.posterior import FORWARD_COST, Chain, LocalPosterior, Position
from sweepflow.samplers.sgld_tuning import Proposal, TuningState
from sweepflow.schema.sampler import SgldSampler

BIAS_STEPS = 2
"""Steps of a bias chain for each of the others', each that much smaller."""
TUNING_BLOCKS = 200
"""Most blocks of the warm-up in which the step size is tuned."""
SEARCH_SHARE = 0.25
"""Of them, those that move by accepted proposals only: the step size may still be far too large."""
MEASURE_EVERY = 16
"""Blocks from one measurement of the acceptance to the next, once the step size is fixed."""
MEASURE_COST = 2.0
"""Of a Metropolis proposal, in full gradients."""


class SgldState(NamedTuple):
    """What the next step needs; the moments stay zero where the preconditioner does not use them."""

    position: Position
    first_moment: Position
    second_moment: Position
    step: Int[Array, ""]


class SgldRun(NamedTuple):
    """A chain between two blocks of steps, and the traces as far as they are.

    Attributes:
        chain: The chain's state.
        tuning: State of the tuning; it stays as the last tuning block left it.
        loss_0: L_n(w0), float64.
        loss, acceptance, distance, gradient_norm, noise_norm: As in `Chain`.
    """

    chain: SgldState
    tuning: TuningState
    loss_0: Float[Array, ""]
    loss: Float[Array, " points"]
    acceptance: Float[Array, " points"]
    distance: Float[Array, " points"]
    gradient_norm: Float[Array, " points"]
    noise_norm: Float[Array, " points"]


def init(position: Position) -> SgldState:
    """The state before the first step."""
    zeros = jnp.zeros_like(position)
    return SgldState(position, zeros, zeros, jnp.zeros((), jnp.int32))


def tuning_blocks(config: SgldSampler) -> int:
    """Leading blocks in which the step size is tuned: none where it is given, and half of a short warm-up."""
    if config.tunes_step_size:
        given = TUNING_BLOCKS if config.warmup == "auto" else -(-config.warmup // config.thinning) // 2
        return min(TUNING_BLOCKS, given)
    return 0


def searched_blocks(config: SgldSampler) -> int:
    """Leading ones of them, which are a Metropolis proposal each and nothing else."""
    return int(SEARCH_SHARE * tuning_blocks(config))


def costs(config: SgldSampler, rows: int, points: int) -> Float[np.ndarray, "2 points"]:
    """Full gradients of each block of `thinning` steps: of a chain, and of a bias chain."""
    number = np.arange(points)
    tuned, searched = tuning_blocks(config), searched_blocks(config)
    share = min(config.batch_size or rows, rows) / rows
    steps = np.where(number < searched, 0, config.thinning) * np.where(
        number < tuned, [[1], [1]], [[1], [BIAS_STEPS]]
    )
    return steps * share + FORWARD_COST + MEASURE_COST * ((number < tuned) | (number % MEASURE_EVERY == 0))


def chain(
    config: SgldSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
    length: int,
) -> Course:
    """Run one chain; lanes past `config.chains` are bias chains.

    A point is a block of `thinning` steps. L_n is recorded after each.
    """
    dtype = posterior.center.dtype
    tuned = tuning_blocks(config)
    searched = searched_blocks(config)
    is_finer = lane >= config.chains
    gradient = posterior.minibatch_gradient(config.batch_size)
    # No chain has the number of the key that all tune with.
    shared_key = jax.random.fold_in(key, config.chains + config.bias_chains)
    own_key = jax.random.fold_in(key, lane)
    driving_key = jax.random.fold_in(key, jnp.where(is_finer, (lane - config.chains) % config.chains, lane))

    def step_size_of(run: SgldRun, number: Int[Array, ""]) -> Float[Array, ""]:
        if not tuned:
            return traced["step_size"]
        found = sgld_tuning.tuned_step_size(run.tuning)
        return jnp.where(number < tuned, sgld_tuning.step_size(run.tuning), found)

    def noise_of(step: Int[Array, ""], driving: PRNGKeyArray, own: PRNGKeyArray, finer: Array) -> Position:
        shape = posterior.center.shape
        if not config.bias_chains:
            return jax.random.normal(jax.random.fold_in(driving, step), shape, dtype)
        halves = jnp.where(finer, BIAS_STEPS, 1)
        whole = jax.random.normal(jax.random.fold_in(driving, step // halves), shape, dtype)
        # A loop, since it has no turn at all in vectors without a bias chain.
        inner = jax.lax.fori_loop(
            0,
            finer.astype(jnp.int32),
            lambda _, old: jax.random.normal(jax.random.fold_in(own, step // halves), shape, dtype),
            jnp.zeros(shape, dtype),
        )
        sign = jnp.where(step % halves == 0, 1.0, -1.0).astype(dtype)
        half = (whole + sign * inner) / jnp.sqrt(jnp.asarray(BIAS_STEPS, dtype))
        return jnp.where(finer, half, whole)

    def block(number: Int[Array, ""], run: SgldRun) -> SgldRun:
        tuning, searching = number < tuned, number < searched
        finer = is_finer & ~tuning
        step_size = step_size_of(run, number)
        epsilon = (step_size / jnp.where(finer, BIAS_STEPS, 1)).astype(dtype)
        own = jax.lax.select(tuning, shared_key, own_key)
        # Of the steps' numbers alone, so that a chain can be cut anywhere and resumed.
        batch_key, inner_key, measure_key = jax.random.split(own, 3)
        driving = jax.random.fold_in(jax.lax.select(tuning, shared_key, driving_key), 1)

        def step(turn: Int[Array, ""], carried: tuple[SgldState, Array]) -> tuple[SgldState, Array]:
            state, _ = carried
            count = number * config.thinning * jnp.where(finer, BIAS_STEPS, 1) + turn
            g = gradient(jax.random.fold_in(batch_key, count), state.position)
            state, drift_gradient, scaling = _precondition(config, traced, state, g)
            w = state.position
            drift = posterior.nbeta * drift_gradient + posterior.gamma * (w - posterior.center)
            change = 0.5 * epsilon * scaling * drift
            noise = jnp.sqrt(epsilon * scaling) * noise_of(count, driving, inner_key, finer)
            norms = jnp.stack([jnp.linalg.norm(change), jnp.linalg.norm(noise)])
            return state._replace(position=w - change + noise, step=state.step + 1), norms

        steps = config.thinning * jnp.where(finer, BIAS_STEPS, 1) * (~searching).astype(jnp.int32)
        state, norms = jax.lax.fori_loop(0, steps, step, (run.chain, jnp.zeros(2, dtype)))

        def measure(state: SgldState) -> Proposal:
            proposal_key = jax.random.fold_in(measure_key, 2 * number)
            return sgld_tuning.propose(
                posterior,
                proposal_key,
                state.position,
                step_size,
                _scaling(config, traced, state),
                run.loss_0,
            )

        def pass_over(state: SgldState) -> Proposal:
            return Proposal(state.position, jnp.asarray(jnp.nan, jnp.float64), jnp.zeros((), bool))

        measured = tuning | (number % MEASURE_EVERY == 0)
        seen = jax.lax.cond(measured, measure, pass_over, state)
        tuning_state = run.tuning
        if tuned:
            updated = sgld_tuning.update(
                run.tuning, seen, traced["target_acceptance"], number == searched - 1
            )
            tuning_state = jax.tree.map(lambda a, b: jnp.where(tuning, a, b), updated, run.tuning)
            chance = jax.random.uniform(jax.random.fold_in(measure_key, 2 * number + 1), dtype=jnp.float64)
            moves = searching & (chance < seen.acceptance)
            state = state._replace(position=jnp.where(moves, seen.position, state.position))
            back = _at_center(state, posterior.center)
            state = jax.tree.map(lambda a, b: jnp.where(tuning & seen.away, a, b), back, state)
        loss = posterior.loss(state.position)
        distance = jnp.linalg.norm(state.position - posterior.center)
        write = jax.lax.dynamic_update_index_in_dim
        return SgldRun(
            chain=state,
            tuning=tuning_state,
            loss_0=run.loss_0,
            loss=write(run.loss, loss, number, 0),
            acceptance=write(run.acceptance, seen.acceptance.astype(jnp.float32), number, 0),
            distance=write(run.distance, distance.astype(jnp.float32), number, 0),
            gradient_norm=write(run.gradient_norm, norms[0].astype(jnp.float32), number, 0),
            noise_norm=write(run.noise_norm, norms[1].astype(jnp.float32), number, 0),
        )

    def begin() -> SgldRun:
        trace = jnp.zeros(length, jnp.float32)
        return SgldRun(
            chain=init(posterior.center),
            tuning=sgld_tuning.begin(posterior),
            loss_0=posterior.loss(posterior.center),
            loss=jnp.zeros(length, jnp.float64),
            acceptance=trace,
            distance=trace,
            gradient_norm=trace,
            noise_norm=trace,
        )

    def advance(run: SgldRun, start: Int[Array, ""], stop: Int[Array, ""]) -> SgldRun:
        return jax.lax.fori_loop(start, stop, block, run)

    def finish(run: SgldRun) -> Chain:
        each, finer = np.cumsum(costs(config, posterior.rows, length), axis=1)
        return Chain(
            loss=run.loss,
            full_gradients=jnp.where(is_finer, finer, each),
            step_size=step_size_of(run, jnp.asarray(tuned, jnp.int32)).astype(jnp.float64),
            traces={
                "acceptance": run.acceptance,
                "distance": run.distance,
                "gradient_norm": run.gradient_norm,
                "noise_norm": run.noise_norm,
            },
            rejected=jnp.zeros(length, bool),
            restarts=run.tuning.restarts,
        )

    return Course(begin, advance, finish)


def _at_center(state: SgldState, center: Position) -> SgldState:
    """The chain put back to w0; what its moments know of the gradients stays, so far as it is finite."""
    first, second = (jnp.where(jnp.isfinite(m), m, 0) for m in (state.first_moment, state.second_moment))
    return SgldState(center, first, second, state.step)


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
    """P, from the moments after `state.step` steps; before the first, as if no gradient was ever seen."""
    dtype = state.position.dtype
    if config.preconditioner == "none":
        return jnp.ones((), dtype)
    seen = 1 - traced["b2"].astype(dtype) ** jnp.maximum(state.step, 1).astype(dtype)
    return 1 / (jnp.sqrt(state.second_moment / seen) + traced["epsilon"].astype(dtype))
