"""blackjax's tuning of MCLMC, one step at a time, from blackjax's parts.

Four stages, each of a fixed number of steps (Robnik, De Luca, Silverstein and Seljak 2023, section 4):

1. search: the step size follows the energy error, whose variance grows with the step size to the sixth power;
2. spread: the same, and the variances of the positions are averaged, to become the inverse mass matrix;
3. readjustment: the step size again, now with that matrix, and L = sqrt(d);
4. length: no tuned number changes, positions are kept, and L follows from their autocorrelation.

blackjax runs all stages in one call, which contains the kernel three times. Here they share the loop of the
draws, and can be cut after any step.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int, PRNGKeyArray

from sweepflow.samplers.kernels import import_blackjax
from sweepflow.samplers.posterior import Position

MAX_LENGTH_STEPS = 300
"""Cap on the steps of the last stage: they are the only ones whose positions are kept in memory."""
TRUST = 1.5
"""Width, in the logarithm of the step size, of the range in which an energy error is trusted to indicate the
best step size."""
MEMORY = 150
"""Number of energy errors that the step size is averaged over."""
LENGTH_FACTOR = 0.4
"""L in units of the path length between independent positions."""

Shifts = Float32[Array, "steps d"]


class Plan(NamedTuple):
    """Number of steps of each stage.

    Attributes:
        search, spread, readjustment, length: The four stages, in their order.
    """

    search: int
    spread: int
    readjustment: int
    length: int

    @property
    def adapting(self) -> int:
        """Number of steps that change the step size: all but those of the last stage."""
        return self.search + self.spread + self.readjustment

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return self.adapting + self.length


class TuningState(NamedTuple):
    """The parameters of the next step, and the state that its tuning needs.

    Attributes:
        decoherence_length: L, of the momentum.
        step_size: The step size as tuned so far, without bounds.
        inverse_mass_matrix: The diagonal preconditioner; ones before the end of the second stage.
        weight, scaled_variance: Sum of the weights of the energy errors, and of the weighted errors over
            step_size^6.
        largest_step_size: Largest step size that the failed steps leave possible.
        moments: Sum of weights, and weighted means of x and of x^2.
    """

    decoherence_length: Float[Array, ""]
    step_size: Float[Array, ""]
    inverse_mass_matrix: Position
    weight: Float[Array, ""]
    scaled_variance: Float[Array, ""]
    largest_step_size: Float[Array, ""]
    moments: tuple[Float[Array, ""], Float[Array, "2 d"]]


def plan(warmup: int) -> Plan:
    """Return the stages of a warm-up. A stage that is too short for its purpose has no steps."""
    length = min(warmup // 4, MAX_LENGTH_STEPS)
    search = 0.4 * (warmup - length)
    spread = round(1.1 * search)
    return Plan(
        search=round(search),
        spread=spread,
        readjustment=round(spread / 3) if spread > 1 else 0,
        length=length if length > 1 else 0,
    )


def begin(position: Position) -> TuningState:
    """The state before the first step."""
    root, zero = jnp.full((), math.sqrt(position.size), position.dtype), jnp.zeros((), position.dtype)
    return TuningState(
        decoherence_length=root,
        step_size=0.25 * root,
        inverse_mass_matrix=jnp.ones_like(position),
        weight=zero,
        scaled_variance=zero,
        largest_step_size=jnp.full_like(zero, jnp.inf),
        moments=(zero, jnp.zeros((2, position.size), position.dtype)),
    )


def update(
    stages: Plan,
    state: TuningState,
    number: Int[Array, ""],
    chains: tuple[Any, Any],
    info: Any,
    key: PRNGKeyArray,
    desired_energy_var: Float[Array, ""],
) -> tuple[Any, TuningState]:
    """Return the chain and the state after a step of the first three stages.

    Args:
        stages: The plan.
        state: State before the step.
        number: Number of the step, from 0; the same for all chains.
        chains: blackjax's states before and after the step; a step that failed is undone.
        info: The kernel's information about the step.
        key: Key of the step.
        desired_energy_var: Energy variance per dimension that is wanted.
    """
    import_blackjax()
    from blackjax.adaptation.mclmc_adaptation import handle_nans
    from blackjax.util import incremental_value_update

    old, new = chains
    success, chain, largest, energy_change = handle_nans(
        old, new, state.step_size, state.largest_step_size, info.energy_change, info.nonans, key
    )
    size = old.position.size
    error = jnp.square(energy_change) / (size * desired_energy_var) + 1e-8
    trust = jnp.exp(-0.5 * jnp.square(jnp.log(error) / (6.0 * TRUST)))
    decay = (MEMORY - 1.0) / (MEMORY + 1.0)
    scaled = decay * state.scaled_variance + trust * (error / jnp.power(state.step_size, 6.0))
    weight = decay * state.weight + trust
    step_size = jnp.minimum(jnp.power(scaled / weight, -1.0 / 6.0), largest)
    weighed = (number >= stages.search) & success
    x = chain.position
    after = state._replace(
        step_size=step_size,
        weight=weight,
        scaled_variance=scaled,
        largest_step_size=largest,
        moments=incremental_value_update(
            jnp.stack([x, jnp.square(x)]), state.moments, weighed.astype(x.dtype) * step_size
        ),
    )

    def precondition(after: TuningState) -> TuningState:
        _, (mean, mean_square) = after.moments
        variances = mean_square - jnp.square(mean)
        return begin(x)._replace(step_size=after.step_size, inverse_mass_matrix=variances)

    if stages.spread > 1:
        last = number == stages.search + stages.spread - 1
        after = jax.lax.cond(last, precondition, lambda same: same, after)
    return chain, after


def keep(
    stages: Plan, shifts: Shifts, number: Int[Array, ""], position: Position, center: Position
) -> Shifts:
    """Return the positions of the last stage, as they are after any step of the run.

    They are written at every step, since a buffer that passes through a condition is copied. Before the
    stage, its first row is overwritten; after it, the last row, which is then not read any more.
    """
    if not stages.length:
        return shifts
    row = jnp.clip(number - stages.adapting, 0, stages.length - 1)
    return jax.lax.dynamic_update_index_in_dim(shifts, (position - center).astype(shifts.dtype), row, 0)


def tuned_length(shifts: Shifts, state: TuningState) -> Float[Array, ""]:
    """Return L after the last stage: a part of the path length between independent positions, averaged over
    directions.

    L stays as before if no direction has moved.
    """
    times = autocorrelation_times(shifts.astype(jnp.float64))
    finite = jnp.isfinite(times)
    length = LENGTH_FACTOR * state.step_size * jnp.mean(times, where=finite)
    return jnp.where(finite.any(), length, state.decoherence_length)


def autocorrelation_times(x: Float[Array, "n d"]) -> Float[Array, " d"]:
    """Return the number of steps between independent values of each column; NaN for one that does not change.

    It is n divided by blackjax's `effective_sample_size`, for one chain: Geyer's monotone sequence, with the
    even lag after it. The gathers, the scatters and the two scans of that function would take as long to
    compile as the whole kernel.
    """
    n = len(x)
    centered = x - x.mean(axis=0)
    covariance = jnp.fft.irfft(jnp.square(jnp.abs(jnp.fft.rfft(centered, n=2 * n, axis=0))), n=2 * n, axis=0)
    correlation = covariance[: n - n % 2] / covariance[0] - 1 / (n - 1)
    pairs = correlation.at[0].set(1.0).reshape(-1, 2, x.shape[1])

    def add(sums: tuple[Array, Array, Array], pair: Float[Array, "2 d"]) -> tuple[Any, None]:
        total, least, positive = sums
        now = positive & (pair.sum(axis=0) > 0)
        smaller = jnp.minimum(pair.sum(axis=0), least)
        even = jnp.maximum(pair[0], 0.0)
        beyond = jnp.where(even > least, 0.75 * least, 0.5 * even)
        more = jnp.where(now, smaller, jnp.where(positive, beyond, 0.0))
        return (total + more, jnp.where(now, smaller, least), now), None

    start = jnp.zeros_like(x[0]), jnp.full_like(x[0], jnp.inf), jnp.ones_like(x[0], bool)
    (total, _, _), _ = jax.lax.scan(add, start, pairs)
    moved = (x != x[0]).any(axis=0) & (covariance[0] > 0)
    return jnp.where(moved, jnp.maximum(2 * total - 1, 1 / math.log10(n)), jnp.nan)
