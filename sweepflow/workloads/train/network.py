"""Networks to train, with initial weights that do not depend on the width of the compiled program.

MLPs of different widths may share one program: the program's layers are as wide as the widest, and the
weights of the units that a trial does not have are zero. They stay zero: the output of such a unit is
act(0) = 0, so the gradient of its outgoing weights is zero. The gradient of its incoming weights is zero too,
because its outgoing weights are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from sweepflow.data.dataset import DataShape
from sweepflow.engine.workload import Trial
from sweepflow.models import build_network
from sweepflow.models.mlp import hidden_widths, num_params
from sweepflow.models.network import Network
from sweepflow.schema.model import MlpModel
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.splits import shape_of


def own_widths(config: TrainConfig, shape: DataShape) -> tuple[int, ...]:
    """Return the hidden widths of the trial's own MLP; empty for other architectures."""
    if not isinstance(config.model, MlpModel):
        return ()
    return hidden_widths(config.model, math.prod(shape.input_shape), shape.output_dim)


def program_model(config: TrainConfig, shape: DataShape) -> TrainConfig:
    """Return the configuration with the model that the program is compiled for."""
    if not isinstance(config.model, MlpModel):
        return config
    widths = config.pad_widths_to or own_widths(config, shape)
    model = config.model.model_copy(update={"widths": widths, "target_params": None, "depth": None})
    return config.model_copy(update={"model": model})


def count_params(config: TrainConfig, shape: DataShape) -> int:
    """Return the number of parameters of the trial's own network, without padding."""
    if not isinstance(config.model, MlpModel):
        return build_network(config.model, shape).num_params
    widths = (math.prod(shape.input_shape), *own_widths(config, shape), shape.output_dim)
    return num_params(widths, config.model.bias)


def own_entries(config: TrainConfig, shape: DataShape) -> Bool[np.ndarray, " d"]:
    """Return a mask of the trial's own entries in the program's weight vector; the rest is zero padding."""
    model = program_model(config, shape).model
    if not isinstance(model, MlpModel):
        return np.ones(build_network(model, shape).num_params, bool)
    assert model.widths is not None  # `program_model` gave it
    first, last = math.prod(shape.input_shape), shape.output_dim
    parts = []
    for (fan_in, fan_out), (true_in, true_out) in zip(
        pairwise((first, *model.widths, last)),
        pairwise((first, *own_widths(config, shape), last)),
        strict=True,
    ):
        columns, rows = np.arange(fan_in) < true_in, np.arange(fan_out) < true_out
        parts += [(rows[:, None] & columns).ravel(), *[rows] * model.bias]
    return np.concatenate(parts)


def initial_weights(
    config: TrainConfig, shape: DataShape, network: Network, own: Int[Array, " hidden"], key: PRNGKeyArray
) -> Float[Array, " d"]:
    """Return the initial weights of the network that `config` (as from `program_model`) is compiled for.

    Weights and biases of a layer are uniform in +-1/sqrt(fan_in), as in the layers' own initialisation
    (Equinox's, PyTorch's). The draw of every weight of an MLP depends only on its layer, row and column.

    Args:
        own: int32, the trial's own hidden widths; all other weights are zero.
    """
    if not isinstance(config.model, MlpModel):
        return network.init(key).astype(config.dtype)
    assert config.model.widths is not None  # `program_model` gave it
    first, last = math.prod(shape.input_shape), shape.output_dim
    ends = [jnp.asarray(n, jnp.int32) for n in (first, last)]
    true = [ends[0], *(own[i] for i in range(len(config.model.widths))), ends[1]]
    layers = zip(pairwise((first, *config.model.widths, last)), pairwise(true), strict=True)
    parts = []
    for number, ((fan_in, fan_out), (true_in, true_out)) in enumerate(layers):
        weight_key, bias_key = jax.random.split(jax.random.fold_in(key, number))
        bound = 1 / jnp.sqrt(true_in.astype(config.dtype))
        columns = jnp.arange(fan_in, dtype=jnp.int32) < true_in
        rows = jnp.arange(fan_out, dtype=jnp.int32) < true_out
        # One key a row: the bits of a longer row begin with those of a shorter one.
        weights = jax.vmap(
            lambda row, k=weight_key, n=fan_in: _uniform(jax.random.fold_in(k, row), n, config)
        )(jnp.arange(fan_out, dtype=jnp.uint32))
        parts.append((jnp.where(rows[:, None] & columns, weights, 0) * bound).ravel())
        if config.model.bias:
            parts.append(jnp.where(rows, _uniform(bias_key, fan_out, config), 0) * bound)
    return jnp.concatenate(parts)


def _uniform(key: PRNGKeyArray, length: int, config: TrainConfig) -> Float[Array, " n"]:
    return jax.random.uniform(key, (length,), config.dtype, -1, 1)


def pad_widths(
    trials: Sequence[Trial[TrainConfig]], program_key: Callable[[TrainConfig], str]
) -> list[Trial[TrainConfig]]:
    """Return the same trials; MLPs that differ only in widths are compiled for the widest of each layer.

    Args:
        trials: Trials, in any order.
        program_key: Returns the key that decides a configuration's program.
    """
    own = [own_widths(trial.config, shape_of(trial.config)) for trial in trials]
    families = [
        program_key(trial.config.model_copy(update={"pad_widths_to": (1,) * len(widths)}))
        for trial, widths in zip(trials, own, strict=True)
    ]
    widest: dict[str, tuple[int, ...]] = {}
    for family, widths in zip(families, own, strict=True):
        widest[family] = tuple(map(max, widest.get(family, widths), widths))
    return [
        replace(trial, config=trial.config.model_copy(update={"pad_widths_to": widest[family] or None}))
        for trial, family in zip(trials, families, strict=True)
    ]
