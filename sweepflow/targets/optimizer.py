"""optax optimizers built from traced numbers, inside the compiled program.

If they were built outside, or through `inject_hyperparams`, every learning rate would compile anew or be
rounded.
"""

from __future__ import annotations

from collections.abc import Mapping

import optax
from jaxtyping import Array, Float

from sweepflow.schema.target import TrainingConfig


def build_optimizer(
    config: TrainingConfig, traced: Mapping[str, Float[Array, ""]]
) -> optax.GradientTransformation:
    """The optimizer of a training configuration.

    Args:
        config: Static part: optimizer, schedule, steps.
        traced: learning_rate, momentum, weight_decay; scalars in the training dtype.
    """
    rate: optax.ScalarOrSchedule = traced["learning_rate"]
    if config.schedule == "cosine":
        rate = optax.cosine_decay_schedule(rate, max(config.steps, 1))
    match config.optimizer:
        case "adam":
            return optax.adam(rate)
        case "adamw":
            return optax.adamw(rate, weight_decay=traced["weight_decay"])
        case "sgd":
            return optax.sgd(rate, momentum=traced["momentum"])
