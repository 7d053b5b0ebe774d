"""Optimizers whose numbers are traced: their fields, and the direction that they give.

optax's `inject_hyperparams` rounds and takes callables for schedules. Therefore only the direction is from
optax. It is built inside the compiled program from traced scalars, and the workload multiplies it by its
rate.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from pydantic import NonNegativeFloat, PositiveFloat

from sweepflow.schema.fields import Config, Traced
from sweepflow.schema.target import Decay

Scalar = Float[Array, ""] | float
"""Type of a traced field: a scalar of the running program, a float outside it."""


class OptimizerConfig(Config):
    """An optimizer of optax, and its numbers."""

    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "lion"] = "adam"
    """Optimizer of optax."""
    nesterov: bool = False
    """Whether the momentum is Nesterov's (sgd only)."""
    learning_rate: Traced[PositiveFloat] = 1e-3
    """Learning rate, before any schedule."""
    momentum: Traced[Decay] = 0.9
    """Momentum (sgd only)."""
    b1: Traced[Decay] = 0.9
    """Decay of the first moment (adam, adamw, lion)."""
    b2: Traced[Decay] = 0.999
    """Decay of the second moment (adam, adamw, rmsprop; all bias-corrected), or of the momentum (lion)."""
    eps: Traced[PositiveFloat] = 1e-8
    """Constant added to the square root of the second moment (adam, adamw), or inside the root (rmsprop)."""
    weight_decay: Traced[NonNegativeFloat] = 0.0
    """Weight decay: decoupled for adamw and lion, a term of the gradient (L2) for the others."""
    clip_norm: Traced[NonNegativeFloat] = 0.0
    """Maximum norm of the gradient; 0 does not clip."""


def direction(config: OptimizerConfig) -> optax.GradientTransformation:
    """Return the uphill direction that an optimizer gives; it is to be scaled by minus the rate.

    Args:
        config: Configuration whose traced fields are scalars of the running program.
    """
    decay = optax.add_decayed_weights(config.weight_decay)
    match config.optimizer:
        case "sgd":
            return optax.chain(decay, optax.trace(config.momentum, nesterov=config.nesterov))
        case "adam":
            return optax.chain(decay, optax.scale_by_adam(config.b1, config.b2, config.eps))
        case "adamw":
            return optax.chain(optax.scale_by_adam(config.b1, config.b2, config.eps), decay)
        case "rmsprop":
            # Without the correction a first step would be 1/sqrt(1 - b2) times the rate.
            rms = optax.scale_by_rms(config.b2, config.eps, bias_correction=True)
            return optax.chain(decay, rms)
        case "lion":
            return optax.chain(optax.scale_by_lion(config.b1, config.b2), decay)


def clipped(gradient: Float[Array, " d"], clip_norm: Scalar) -> Float[Array, " d"]:
    """Return the gradient, scaled down to norm `clip_norm` if it is longer; 0 does not clip."""
    norm = jnp.linalg.norm(gradient)
    return jnp.where((clip_norm > 0) & (norm > clip_norm), gradient * (clip_norm / norm), gradient)
