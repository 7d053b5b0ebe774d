"""Gradient descent on classic two-dimensional landscapes, with every optimizer.

The problems are small enough to see the behaviour of an optimizer, and to run ten thousand at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import PositiveInt

from sweepflow.schema.fields import Traced
from sweepflow.workloads.optimizer import OptimizerConfig, clipped, direction

VERSION = 1
METRIC = "loss"
GOAL = {"loss": "minimize", "best_loss": "minimize", "distance": "minimize"}
VECTOR_WIDTH = 64

Landscape = Literal["paraboloid", "rosenbrock", "himmelblau", "beale", "rastrigin"]
Value = Callable[[Float[Array, ""], Float[Array, ""]], Float[Array, ""]]


class Config(OptimizerConfig):
    """One descent from a starting point."""

    landscape: Landscape = "rosenbrock"
    """Function to minimize."""
    steps: PositiveInt = 200
    """Number of steps."""
    x: Traced[float] = -1.5
    """First coordinate of the starting point."""
    y: Traced[float] = 2.0
    """Second coordinate of the starting point."""
    keep_path: bool = False
    """Whether to keep every point of the path: the report draws it over the landscape's contours."""


VALUES: dict[str, Value] = {
    "paraboloid": lambda x, y: x**2 + 10 * y**2,
    "rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "himmelblau": lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    "beale": lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
    "rastrigin": lambda x, y: 20 + x**2 + y**2 - 10 * (jnp.cos(2 * jnp.pi * x) + jnp.cos(2 * jnp.pi * y)),
}
"""Each has the value 0 at its minima."""

MINIMA: dict[str, Float[np.ndarray, "minima 2"]] = {
    "paraboloid": np.array([[0.0, 0.0]]),
    "rosenbrock": np.array([[1.0, 1.0]]),
    "himmelblau": np.array(
        [[3.0, 2.0], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]]
    ),
    "beale": np.array([[3.0, 0.5]]),
    "rastrigin": np.array([[0.0, 0.0]]),
}
"""Global minima."""


def run(config: Config, inputs: Mapping[str, Array], key: PRNGKeyArray) -> dict[str, Array]:
    """Run one descent.

    Returns:
        loss: the value at the end. best_loss: the lowest value on the way. distance: the distance of the end
        from the nearest global minimum. x_final, y_final: the end. path, (steps + 1, 2): only if `keep_path`.
    """
    del inputs, key  # nothing is drawn
    optimizer = direction(config)

    def value(w: Float[Array, 2]) -> Float[Array, ""]:
        return VALUES[config.landscape](w[0], w[1])

    def step(
        state: tuple[Array, optax.OptState, Array], _: None
    ) -> tuple[tuple[Array, optax.OptState, Array], Array | None]:
        w, moments, best = state
        gradient = clipped(jax.grad(value)(w), config.clip_norm)
        uphill, moments = optimizer.update(gradient, moments, w)
        w = w - config.learning_rate * uphill
        return (w, moments, jnp.minimum(best, value(w))), w if config.keep_path else None

    start = jnp.stack([config.x, config.y])
    state = (start, optimizer.init(start), value(start))
    (w, _, best), path = jax.lax.scan(step, state, None, config.steps)
    apart = jnp.linalg.norm(MINIMA[config.landscape].astype(w.dtype) - w, axis=1)
    found = {
        "loss": value(w),
        "best_loss": best,
        "distance": jnp.min(apart),
        "x_final": w[0],
        "y_final": w[1],
    }
    if path is not None:
        found["path"] = jnp.concatenate([start[None], path])
    return found
