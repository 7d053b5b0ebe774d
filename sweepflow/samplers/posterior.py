"""The localised, tempered posterior that every sampler draws from, and the results of a chain.

    log p(w) = -nbeta L_n(w) - (gamma / 2) ||w - w0||^2 + const

Lau et al. 2024 (The local learning coefficient), eq. 17-18, with gamma the precision of the prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, PRNGKeyArray

from sweepflow.data.dataset import DataShape
from sweepflow.models.loss import mean_loss
from sweepflow.models.network import Network

Position = Float[Array, " d"]

FORWARD_COST = 1 / 3
"""Cost of evaluating L_n, in full gradients: a backward pass costs about two forward ones."""


class Chain(NamedTuple):
    """One chain, as far as it was run; entries after the last point that was run have no meaning.

    Attributes:
        loss: float64 (points,), L_n at each recorded point, warm-up first.
        full_gradients: float64 (points,), full-gradient equivalents spent up to each point.
        rejected: bool (points,), whether a trajectory on the way to each point diverged or was not finite.
        traces: float32 (points,) each, other quantities at each point, by name; NaN where they were not
            measured.
        step_size: The step size used for the draws.
        restarts: int32, number of times that the tuning had to put the chain back to w0.
    """

    loss: Float[Array, " points"]
    full_gradients: Float[Array, " points"]
    rejected: Bool[Array, " points"]
    traces: dict[str, Float32[Array, " points"]]
    step_size: Float[Array, ""]
    restarts: Int[Array, ""]

    def results(self) -> dict[str, Array]:
        """Return all results by name, with the traces beside the others."""
        return {**{name: value for name, value in self._asdict().items() if name != "traces"}, **self.traces}


@dataclass(frozen=True)
class LocalPosterior:
    """The posterior around one w0 on one data set, at one nbeta and gamma.

    Attributes:
        x, y: All rows, in the dtype that the network is evaluated in.
        center: w0, (d,), in the dtype that the sampler works in.
        nbeta: Inverse temperature times n, in that dtype.
        gamma: Precision of the localising Gaussian, in that dtype.
    """

    network: Network
    shape: DataShape
    x: Float[Array, "rows ..."]
    y: Float[Array, "rows ..."]
    center: Position
    nbeta: Float[Array, ""]
    gamma: Float[Array, ""]

    @property
    def rows(self) -> int:
        """Stored rows: n, or 1 for a potential, whose n is only a number."""
        return self.y.shape[0]

    def loss(self, w: Position) -> Float[Array, ""]:
        """L_n(w) on all rows, float64."""
        return mean_loss(self.network, self.shape.task, w.astype(self.x.dtype), self.x, self.y)

    def minibatch_gradient(self, batch_size: int | None) -> Callable[[PRNGKeyArray, Position], Position]:
        """Return an unbiased estimate of the gradient of L_n, from `batch_size` rows drawn with replacement.

        If batch_size is None, all rows are used, and the key is not.
        """
        if batch_size is None:
            return lambda key, w: jax.grad(self.loss)(w)

        def gradient(key: PRNGKeyArray, w: Position) -> Position:
            # int32 halves the random bits that 64-bit indices would take.
            rows = jax.random.randint(key, (batch_size,), 0, self.rows, dtype=jnp.int32)
            return jax.grad(mean_loss, argnums=2)(
                self.network, self.shape.task, w, self.x[rows], self.y[rows]
            )

        return gradient

    def logdensity(self, w: Position) -> Float[Array, ""]:
        """Log density up to a constant, in w's dtype."""
        shift = w - self.center
        return -self.nbeta * self.loss(w).astype(w.dtype) - 0.5 * self.gamma * jnp.dot(shift, shift)

    def loss_from_logdensity(self, w: Position, logdensity: Float[Array, ""]) -> Float[Array, ""]:
        """Return L_n(w) from a log density that is already known, which saves a pass over the data."""
        shift = w - self.center
        return (-(logdensity + 0.5 * self.gamma * jnp.dot(shift, shift)) / self.nbeta).astype(jnp.float64)
