"""The common parts of the samplers by stochastic gradients: tuning of the step size, bias chains, and traces.

A step size that is not given is found in the first blocks of the warm-up (`step_size_tuning`), by steps of
Langevin dynamics for every sampler. All chains of a trial go through these blocks with the same random
numbers, so all find the same step size.

A bias chain takes two steps of half the length for each step of the chain whose number it has, driven by the
same Brownian motion: the halves of an increment xi are (xi + eta) / sqrt 2 and (xi - eta) / sqrt 2. So the
difference between the losses of the two chains is due to the step size and not to chance (Giles 2008,
Multilevel Monte Carlo path simulation). A bias chain has its own minibatches, since their noise is a part of
the bias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.engine.course import Course
from sweepflow.samplers import step_size_tuning
from sweepflow.samplers.posterior import FORWARD_COST, Chain, LocalPosterior, Position
from sweepflow.samplers.step_size_tuning import Proposal, TuningState
from sweepflow.schema.sampler import StochasticSampler

BIAS_STEPS = 2
"""Number of steps of a bias chain for each step of the others; each is smaller by this factor."""
TUNING_BLOCKS = 400
"""Maximum number of blocks of the warm-up in which the step size is tuned."""
SEARCH_SHARE = 0.125
"""Share of these blocks that move by accepted proposals only: the step size may still be far too large."""
MEASURE_EVERY = 16
"""Number of blocks from one measurement of the acceptance to the next, once the step size is fixed."""
MEASURE_COST = 2.0
"""Cost of a Metropolis proposal, in full gradients."""

State = Any
"""A sampler's own state: a named tuple with `position` and `step`, the number of its steps so far."""


class Moved(NamedTuple):
    """A step that was taken.

    Attributes:
        state: State after the step.
        change, noise: Changes by the gradient and by random noise, of the position or of the momentum that
            moves it.
    """

    state: State
    change: Position
    noise: Position


def langevin(state: State, slope: Position, variance: Position | Float[Array, ""], noise: Position) -> Moved:
    """Take a step of Langevin dynamics: half the variance down the slope, and noise of that variance."""
    change, random = 0.5 * variance * slope, jnp.sqrt(variance) * noise
    return Moved(state._replace(position=state.position - change + random), change, random)


class Dynamics(NamedTuple):
    """A sampler by stochastic gradients, as functions of its own state.

    Attributes:
        begin: The state at a position, with a key to draw the rest of it.
        probe: (state, step size, share, tuning) -> the position at which the next step needs the gradient.
        step: (state, gradient of L_n there, step size, share, standard normal, tuning) -> the step. The share
            is 1, or for a bias chain 1/2, of the step's length in time. While the step size is tuned, the
            step is one of Langevin dynamics.
        scaling: P of the Langevin step, from the state.
        restart: The state put back to a position.
    """

    begin: Callable[[Position, PRNGKeyArray], State]
    probe: Callable[[State, Float[Array, ""], Float[Array, ""], Bool[Array, ""]], Position]
    step: Callable[[State, Position, Float[Array, ""], Float[Array, ""], Position, Bool[Array, ""]], Moved]
    scaling: Callable[[State], Position | Float[Array, ""]]
    restart: Callable[[State, Position], State]


class Run(NamedTuple):
    """A chain between two blocks of steps, and the traces so far.

    Attributes:
        chain: The chain's state.
        tuning: State of the tuning; it does not change after the last tuning block.
        loss_0: L_n(w0), float64.
        loss, acceptance, distance, gradient_norm, noise_norm: As in `Chain`.
    """

    chain: State
    tuning: TuningState
    loss_0: Float[Array, ""]
    loss: Float[Array, " points"]
    acceptance: Float[Array, " points"]
    distance: Float[Array, " points"]
    gradient_norm: Float[Array, " points"]
    noise_norm: Float[Array, " points"]


def blocks(config: StochasticSampler, steps: int) -> int:
    """Return the number of blocks that have at least this many steps."""
    return -(-steps // config.thinning)


def tuning_blocks(config: StochasticSampler) -> int:
    """Return the number of leading blocks in which the step size is tuned.

    There are none if the step size is given; in a short warm-up, half of the blocks.
    """
    if config.tunes_step_size:
        given = 2 * TUNING_BLOCKS if config.warmup == "auto" else blocks(config, config.warmup)
        return min(TUNING_BLOCKS, given // 2)
    return 0


def searched_blocks(config: StochasticSampler) -> int:
    """Return the number of leading tuning blocks that are a Metropolis proposal each and nothing else."""
    return int(SEARCH_SHARE * tuning_blocks(config))


def costs(config: StochasticSampler, rows: int, points: int) -> Float[np.ndarray, "2 points"]:
    """Return the full gradients of each block of `thinning` steps: of a chain, and of a bias chain."""
    number = np.arange(points)
    tuned, searched = tuning_blocks(config), searched_blocks(config)
    share = (config.minibatch(rows) or rows) / rows
    steps = np.where(number < searched, 0, config.thinning) * np.where(
        number < tuned, [[1], [1]], [[1], [BIAS_STEPS]]
    )
    noise = share if tuned and share < 1 else 0.0
    measured = (number < tuned) | (number % MEASURE_EVERY == 0)
    return steps * share + FORWARD_COST + (MEASURE_COST + noise) * measured


def chain(
    config: StochasticSampler,
    dynamics: Dynamics,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
    length: int,
) -> Course:
    """Run one chain; lanes past `config.chains` are bias chains.

    A point is a block of `thinning` steps. L_n is recorded after each.

    Args:
        config: The sampler's static part.
        dynamics: Steps of the sampler.
        traced, posterior, key, lane, length: As for `samplers.chain`.
    """
    dtype = posterior.center.dtype
    tuned = tuning_blocks(config)
    searched = searched_blocks(config)
    is_finer = lane >= config.chains
    minibatch = config.minibatch(posterior.rows)
    gradient = posterior.minibatch_gradient(minibatch)
    # No chain has the number of the key that all tune with.
    shared_key = jax.random.fold_in(key, config.chains + config.bias_chains)
    own_key = jax.random.fold_in(key, lane)
    driving_key = jax.random.fold_in(key, jnp.where(is_finer, (lane - config.chains) % config.chains, lane))

    def step_size_of(run: Run, number: Int[Array, ""]) -> Float[Array, ""]:
        if not tuned:
            return traced["step_size"]
        found = step_size_tuning.tuned_step_size(run.tuning)
        return jnp.where(number < tuned, step_size_tuning.step_size(run.tuning), found)

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

    def block(number: Int[Array, ""], run: Run) -> Run:
        tuning, searching = number < tuned, number < searched
        finer = is_finer & ~tuning
        step_size = step_size_of(run, number)
        epsilon = step_size.astype(dtype)
        share = jnp.where(finer, 1 / BIAS_STEPS, 1.0).astype(dtype)
        own = jax.lax.select(tuning, shared_key, own_key)
        # Of the steps' numbers alone, so that a chain can be cut anywhere and resumed.
        batch_key, inner_key, measure_key = jax.random.split(own, 3)
        driving = jax.random.fold_in(jax.lax.select(tuning, shared_key, driving_key), 1)

        def step(turn: Int[Array, ""], carried: tuple[State, Array]) -> tuple[State, Array]:
            state, _ = carried
            count = number * config.thinning * jnp.where(finer, BIAS_STEPS, 1) + turn
            where = dynamics.probe(state, epsilon, share, tuning)
            g = gradient(jax.random.fold_in(batch_key, count), where)
            noise = noise_of(count, driving, inner_key, finer)
            moved = dynamics.step(state, g, epsilon, share, noise, tuning)
            norms = jnp.stack([jnp.linalg.norm(moved.change), jnp.linalg.norm(moved.noise)])
            return moved.state._replace(step=moved.state.step + 1), norms

        steps = config.thinning * jnp.where(finer, BIAS_STEPS, 1) * (~searching).astype(jnp.int32)
        state, norms = jax.lax.fori_loop(0, steps, step, (run.chain, jnp.zeros(2, dtype)))

        def measure(state: State) -> Proposal:
            proposal_key = jax.random.fold_in(measure_key, 2 * number)
            return step_size_tuning.propose(
                posterior,
                proposal_key,
                state.position,
                step_size,
                dynamics.scaling(state),
                run.loss_0,
                gradient if tuned and minibatch else None,
            )

        def pass_over(state: State) -> Proposal:
            unknown = jnp.asarray(jnp.nan, jnp.float64)
            return Proposal(state.position, unknown, unknown, unknown, jnp.zeros((), bool))

        measured = tuning | (number % MEASURE_EVERY == 0)
        seen = jax.lax.cond(measured, measure, pass_over, state)
        tuning_state = run.tuning
        if tuned:
            # The second half starts anew: near w0, where chains begin, other steps are right.
            renew = (number == searched - 1) | (number == tuned // 2 - 1)
            updated = step_size_tuning.update(run.tuning, seen, traced["min_acceptance"], renew)
            tuning_state = jax.tree.map(lambda a, b: jnp.where(tuning, a, b), updated, run.tuning)
            chance = jax.random.uniform(jax.random.fold_in(measure_key, 2 * number + 1), dtype=jnp.float64)
            moves = searching & (chance < seen.acceptance)
            state = state._replace(position=jnp.where(moves, seen.position, state.position))
            back = dynamics.restart(state, posterior.center)
            state = jax.tree.map(lambda a, b: jnp.where(tuning & seen.away, a, b), back, state)
        loss = posterior.loss(state.position)
        distance = jnp.linalg.norm(state.position - posterior.center)
        write = jax.lax.dynamic_update_index_in_dim
        return Run(
            chain=state,
            tuning=tuning_state,
            loss_0=run.loss_0,
            loss=write(run.loss, loss, number, 0),
            acceptance=write(run.acceptance, seen.acceptance.astype(jnp.float32), number, 0),
            distance=write(run.distance, distance.astype(jnp.float32), number, 0),
            gradient_norm=write(run.gradient_norm, norms[0].astype(jnp.float32), number, 0),
            noise_norm=write(run.noise_norm, norms[1].astype(jnp.float32), number, 0),
        )

    def begin() -> Run:
        trace = jnp.zeros(length, jnp.float32)
        return Run(
            chain=dynamics.begin(posterior.center, jax.random.fold_in(own_key, 2)),
            tuning=step_size_tuning.begin(posterior),
            loss_0=posterior.loss(posterior.center),
            loss=jnp.zeros(length, jnp.float64),
            acceptance=trace,
            distance=trace,
            gradient_norm=trace,
            noise_norm=trace,
        )

    def advance(run: Run, start: Int[Array, ""], stop: Int[Array, ""]) -> Run:
        return jax.lax.fori_loop(start, stop, block, run)

    def finish(run: Run) -> Chain:
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
