"""The state that a training which stops early keeps, and from which it goes on.

It is kept without padding: another program, compiled for other widths, may be the one that goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sweepflow.models import build_network
from sweepflow.store.store import Store
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.epochs import CURVES, fresh_state
from sweepflow.workloads.train.network import own_entries, program_model
from sweepflow.workloads.train.splits import shape_of


def is_in_parts(config: TrainConfig) -> bool:
    """Whether a trial stops early or goes on: its program then takes a state and gives one."""
    return config.stop_after is not None or config.resume_after > 0


def load_states(configs: Sequence[TrainConfig], before: Sequence[str], store: Store) -> dict[str, np.ndarray]:
    """State leaves with a leading row a trial; zeros for trials that start at the beginning.

    Args:
        configs: Of one program.
        before: The id of the trial that each goes on from.
        store: Where those have kept their states.
    """
    shape = shape_of(configs[0])
    program = program_model(configs[0], shape)
    weights = build_network(program.model, shape).num_params
    like = jax.eval_shape(lambda: fresh_state(program, jnp.zeros(weights, jnp.dtype(program.dtype))))
    leaves = [np.zeros((len(configs), *leaf.shape), leaf.dtype) for leaf in jax.tree.leaves(like)]
    for row, (config, trial_id) in enumerate(zip(configs, before, strict=True)):
        if config.resume_after:
            kept = store.arrays(trial_id)
            own = own_entries(config, shape)
            for i, leaf in enumerate(leaves):
                leaf[(row, own) if _is_padded(i, leaf[row], own, len(leaves)) else row] = kept[f"state.{i}"]
    return {f"state.{i}": leaf for i, leaf in enumerate(leaves)}


def states_to_keep(config: TrainConfig, results: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state leaves among a trial's results, without padding; none where it has reached its end."""
    if config.stop_after is None:
        return {}
    own = own_entries(config, shape_of(config))
    leaves = {name: leaf for name, leaf in results.items() if name.startswith("state.")}
    for i in range(len(leaves)):
        leaf = leaves[f"state.{i}"]
        leaves[f"state.{i}"] = leaf[own] if _is_padded(i, leaf, own, len(leaves)) else leaf
    return leaves


def _is_padded(number: int, leaf: np.ndarray, own: np.ndarray, leaves: int) -> bool:
    """Whether a leaf has an entry for every weight; the curves, which are the last, may be as long."""
    return leaf.shape == own.shape and number < leaves - len(CURVES)
