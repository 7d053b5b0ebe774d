"""MLPs of different widths in one program: the same initial weights, zeros beside them, the same figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweepflow.models import build_network
from sweepflow.schema.data import TeacherStudentData
from sweepflow.schema.model import CnnModel, MlpModel
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.network import initial_weights, own_entries, own_widths, program_model
from sweepflow.workloads.train.splits import shape_of
from sweepflow.workloads.train.workload import ENGINE, TRAIN

from .conftest import NARROW, TABLE, WIDE, name_of, of_table

COMPARED = ("sgd", "adamw", "rmsprop")
"""Optimizers of the rows with dropout, with clipping, and without biases, which are held against a program of
their own width; the others work entry by entry, as these do, and what they are padded with stays zero too."""


@pytest.mark.parametrize(("wide", "own", "bias"), [((9, 5), ((4, 3), (9, 1)), True), ((3,), ((1,),), False)])
def test_initial_weights_do_not_depend_on_the_padding(
    wide: tuple[int, ...], own: tuple[tuple[int, ...], ...], bias: bool
) -> None:
    data = TeacherStudentData(n_data=30)

    def weights(config: TrainConfig) -> np.ndarray:
        shape = shape_of(config)
        program = program_model(config, shape)
        network = build_network(program.model, shape)
        widths = jnp.asarray(config.model.widths, jnp.int32)
        drawn = jax.jit(lambda key: initial_weights(program, shape, network, widths, key))(jax.random.key(5))
        assert drawn.shape == (network.num_params,)
        return np.asarray(drawn)

    for widths in own:
        config = TrainConfig(data=data, model=MlpModel(widths=widths, bias=bias))
        padded = config.model_copy(update={"pad_widths_to": wide})
        mine = own_entries(padded, shape_of(config))
        plain, found = weights(config), weights(padded)
        np.testing.assert_array_equal(found[mine], plain)
        np.testing.assert_array_equal(found[~mine], 0)
        assert (plain != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_every_optimizer(
    row: dict[str, Any],
    trial: Callable[..., Any],
    run_trials: Callable[..., Any],
    raw_results: Callable[..., Any],
    compilations: list[str],
) -> None:
    """The wider network's program is that of the table in test_training.py."""
    trials = [of_table(trial, row, widths) for widths in (WIDE, NARROW)]
    wide, narrow = TRAIN.pad(trials)
    assert (wide.id, narrow.id) == tuple(one.id for one in trials), "it is the same trial"
    padded = run_trials([wide, narrow])
    w = raw_results(narrow)["state.0"]
    assert len(compilations) <= 1, "none where the table's test was here before"
    mine = own_entries(narrow.config, shape_of(narrow.config))
    assert w.shape == mine.shape and mine.sum() == padded.record(1).figures["num_params"]
    np.testing.assert_array_equal(w[~mine], 0)
    assert (w[mine] != 0).mean() > 0.9

    assert run_trials(trials[:1]).outcome(0) == padded.outcome(0), "the widest is not padded"
    assert len(compilations) <= 1
    if row["optimizer"] not in COMPARED:
        return
    plain = run_trials(trials[1:])
    assert len(compilations) <= 2
    figures = padded.record(1).figures
    assert figures.keys() == plain.record().figures.keys()
    for name, value in plain.record().figures.items():
        assert figures[name] == pytest.approx(value, rel=1e-4), name
    for name, value in plain.arrays().items():
        np.testing.assert_allclose(padded.arrays(1)[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_who_is_padded_with_whom(trial: Callable[..., Any]) -> None:
    """Only what differs in nothing but widths; the widest of each layer, a budget counting as its widths."""
    models = [
        MlpModel(widths=(6, 4)),
        MlpModel(widths=(3, 9)),
        MlpModel(widths=(5,)),
        MlpModel(widths=(7, 1), activation="tanh"),
        MlpModel(widths=()),
        CnnModel(channels=(2,)),
        MlpModel(target_params=900, depth=2),
    ]
    trials = [trial(model=model) for model in models]
    padded = TRAIN.pad(trials)
    budget = own_widths(trials[6].config, shape_of(trials[6].config))
    widest = (max(6, budget[0]), max(9, budget[1]))
    expected = [widest, widest, (5,), (7, 1), None, None, widest]
    assert [one.config.pad_widths_to for one in padded] == expected
    assert [one.id for one in padded] == [one.id for one in trials]
    assert [TRAIN.trial(one.config).id for one in padded] == [one.id for one in trials]
    keys = [ENGINE.program_key(one.config) for one in padded]
    assert keys[0] == keys[1] == keys[6]
    assert len(set(keys)) == 5
