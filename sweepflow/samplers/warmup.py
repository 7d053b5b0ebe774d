"""Stan's window adaptation, one step at a time, from blackjax's parts.

Dual averaging moves the step size towards the target acceptance at every step; in the slow windows the
variances of the positions are collected, and become the inverse mass matrix at each window's end (Stan
reference manual, "HMC algorithm parameters"). blackjax runs a whole warm-up in one call; here it can be cut
after any step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sweepflow.samplers.posterior import Position


class WarmupState(NamedTuple):
    """The state that the next step of the adaptation needs.

    Attributes:
        averaging: blackjax's state of dual averaging.
        metric: blackjax's state of the diagonal mass matrix.
        step_size: Step size of the next trajectory.
    """

    averaging: Any
    metric: Any
    step_size: Float[Array, ""]

    @property
    def inverse_mass_matrix(self) -> Position:
        """Diagonal of the inverse mass matrix; ones before the end of the first slow window."""
        found: Position = self.metric.inverse_mass_matrix
        return found

    @property
    def tuned_step_size(self) -> Float[Array, ""]:
        """Mean of dual averaging, the step size of the draws after the warm-up."""
        return jnp.exp(self.averaging.log_step_size_avg)


FIRST_BUFFER, FIRST_WINDOW, LAST_BUFFER = 75, 25, 50
"""Number of steps before the slow windows, in the first slow window, and after the slow windows."""
LEAST_STEPS = 20
"""Number of steps below which a warm-up adapts the step size only."""


def schedule(steps: int) -> tuple[Bool[np.ndarray, " steps"], Bool[np.ndarray, " steps"]]:
    """Return whether each step belongs to a slow window, and whether it is the last step of one.

    Every window is twice as long as the one before; the last takes what is left. The schedule is that of
    blackjax's `build_schedule`, which would compile two programs to compute it.
    """
    slow, last = np.zeros(steps, bool), np.zeros(steps, bool)
    start, window, end = FIRST_BUFFER, FIRST_WINDOW, steps - LAST_BUFFER
    if steps < LEAST_STEPS:
        return slow, last
    if start + window > end:
        start, end = int(0.15 * steps), steps - int(0.1 * steps)
        window = end - start
    while start < end:
        stop = start + window if start + 3 * window <= end else end
        slow[start:stop], last[stop - 1] = True, True
        start, window = stop, 2 * window
    return slow, last


def begin(position: Position, initial_step_size: Float[Array, ""]) -> WarmupState:
    """The state before the first step."""
    from blackjax.adaptation.mass_matrix import mass_matrix_adaptation
    from blackjax.adaptation.step_size import dual_averaging_adaptation

    averaging = dual_averaging_adaptation(0.5)[0](initial_step_size)  # the target is for the updates
    # blackjax begins with Python's numbers, which a loop's state cannot be.
    averaging = jax.tree.map(jnp.asarray, averaging)
    return WarmupState(averaging, mass_matrix_adaptation()[0](position.size), initial_step_size)


def update(
    state: WarmupState,
    position: Position,
    acceptance: Float[Array, ""],
    target: Float[Array, ""],
    slow: Bool[Array, ""],
    last_of_window: Bool[Array, ""],
) -> WarmupState:
    """Return the state after a trajectory.

    Args:
        state: State before the trajectory.
        position: Position at the end of the trajectory.
        acceptance: Its acceptance probability.
        target: Acceptance probability that is wanted.
        slow, last_of_window: The step's entries of `schedule`; the same for all chains.
    """
    from blackjax.adaptation.mass_matrix import mass_matrix_adaptation
    from blackjax.adaptation.step_size import dual_averaging_adaptation

    renew, average, mean = dual_averaging_adaptation(target)
    _, collect, conclude = mass_matrix_adaptation()

    def close(state: WarmupState) -> WarmupState:
        return WarmupState(renew(mean(state.averaging)), conclude(state.metric), state.step_size)

    averaging = average(state.averaging, acceptance)
    metric = jax.lax.cond(slow, lambda metric: collect(metric, position), lambda old: old, state.metric)
    after = WarmupState(averaging, metric, state.step_size)
    after = jax.lax.cond(last_of_window, lambda s: _like(s, close(s)), lambda s: s, after)
    return _like(state, after._replace(step_size=jnp.exp(after.averaging.log_step_size)))


def _like(old: WarmupState, new: WarmupState) -> WarmupState:
    """The new state in the old one's dtypes."""
    return jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), old, new)
