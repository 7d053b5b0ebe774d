"""The schedule of the learning rate, from traced numbers: optax's own schedules refuse traced step counts."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sweepflow.workloads.train.config import TrainConfig


def learning_rate(
    config: TrainConfig, step: Int[Array, ""], steps: int, reduced: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the rate at a step.

    cosine: m + (r - m)(1 + cos(pi t))/2 with t the share of steps done (Loshchilov and Hutter 2017, eq. 5,
    one cycle); warmup_cosine: linear from r/W to r over the first W steps, then cosine over the rest.

    Args:
        config: Configuration whose traced fields are scalars of the running program.
        step: Number of the step, from 0.
        steps: Number of steps of the whole schedule.
        reduced: Factor by which plateau has multiplied the rate so far.
    """
    rate = jnp.asarray(config.learning_rate, config.dtype)
    least = jnp.asarray(config.min_learning_rate, config.dtype)
    now = step.astype(config.dtype)
    match config.schedule:
        case "constant":
            return rate
        case "plateau":
            return jnp.maximum(rate * reduced, jnp.minimum(least, rate))
        case "cosine":
            return _cosine(rate, least, now / steps)
        case "warmup_cosine":
            warm = jnp.round(config.warmup_fraction * steps)
            rising = rate * (now + 1) / jnp.maximum(warm, 1)
            falling = _cosine(rate, least, (now - warm) / jnp.maximum(steps - warm, 1))
            return jnp.where(now < warm, rising, falling)


def _cosine(rate: Float[Array, ""], least: Float[Array, ""], share: Float[Array, ""]) -> Float[Array, ""]:
    return least + (rate - least) * (1 + jnp.cos(jnp.pi * jnp.clip(share, 0, 1))) / 2
