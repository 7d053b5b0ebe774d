"""A batch's input sets: each held once, and every trial finds its own."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.engine.datasets import ROW, choose_inputs, stack_datasets, stack_inputs
from sweepflow.schema.data import TeacherStudentData


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(0, 3))
def test_every_trial_finds_its_own(wanted: list[int], more: int) -> None:
    each = [{"x": np.full((2, 3), float(i)), "n": np.array(i)} for i in wanted]
    count = len(set(wanted)) + more
    found = stack_inputs(each, wanted, count)
    assert found.shared["x"].shape == (count, 2, 3), "padded to what the program holds"
    assert len(np.unique(found.shared["n"])) == len(set(wanted)), "each once"
    rows = found.own[ROW]
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(found.shared["n"][rows], wanted)
    np.testing.assert_array_equal(found.shared["x"][rows][:, 0, 0], wanted)


def test_a_lane_sees_one_set() -> None:
    found = stack_inputs([{"x": np.arange(3.0)}, {"x": np.arange(3.0) + 10}], ["a", "b"], 2)
    chosen = jax.jit(choose_inputs)(found.shared, {ROW: np.int32(1)})
    np.testing.assert_array_equal(chosen["x"], [10, 11, 12])


def test_no_inputs_at_all() -> None:
    found = stack_inputs([{}, {}], ["", ""], 1)
    assert found.shared == {}
    assert choose_inputs(found.shared, {ROW: found.own[ROW][0]}) == {}


def test_data_sets_of_targets() -> None:
    configs = [TeacherStudentData(n_data=5, n_test=3, seed=seed) for seed in (1, 0, 1)]
    found = stack_datasets(configs, 2)
    assert {name: value.shape for name, value in found.shared.items()} == {
        "x": (2, 5, 4),
        "y": (2, 5, 1),
        "x_test": (2, 3, 4),
        "y_test": (2, 3, 1),
    }
    assert found.own[ROW].tolist() == [0, 1, 0]
