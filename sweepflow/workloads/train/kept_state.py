"""The state that a training run keeps when it stops early, and from which it continues.

The state is kept without padding: the program that continues may be compiled for other widths.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sweepflow.models import build_network
from sweepflow.storage.store import Store
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.epochs import CURVES, fresh_state
from sweepflow.workloads.train.network import own_entries, program_model
from sweepflow.workloads.train.splits import shape_of


def load_state(config: TrainConfig, before: str, store: Store) -> list[np.ndarray]:
    """Return the leaves of the state that a trial continues from, with a leading axis of one lane.

    Args:
        config: Configuration of the trial.
        before: Id of the trial that it continues from.
        store: Store in which that trial has kept its state.
    """
    shape = shape_of(config)
    program = program_model(config, shape)
    weights = build_network(program.model, shape).num_params
    like = jax.eval_shape(lambda: fresh_state(program, jnp.zeros(weights, jnp.dtype(program.dtype))))
    leaves = [np.zeros((1, *leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(like)]
    kept, own = store.arrays(before), own_entries(config, shape)
    for i, leaf in enumerate(leaves):
        leaf[(0, own) if _is_padded(i, leaf[0], own, len(leaves)) else 0] = kept[f"state.{i}"]
    return leaves


def states_to_keep(config: TrainConfig, results: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state leaves among a trial's results, without padding; none if it has reached its end."""
    if config.stop_after is None:
        return {}
    own = own_entries(config, shape_of(config))
    leaves = {name: leaf for name, leaf in results.items() if name.startswith("state.")}
    for i in range(len(leaves)):
        leaf = leaves[f"state.{i}"]
        leaves[f"state.{i}"] = leaf[own] if _is_padded(i, leaf, own, len(leaves)) else leaf
    return leaves


def _is_padded(number: int, leaf: np.ndarray, own: np.ndarray, leaves: int) -> bool:
    """Return whether a leaf has an entry for every weight; the curves, which are last, may be as long."""
    return leaf.shape == own.shape and number < leaves - len(CURVES)
