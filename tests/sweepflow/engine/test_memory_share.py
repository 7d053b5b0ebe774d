"""What a program takes of the memory: of each accelerator's own, or of the host's, which CPUs share."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.engine.course import segment_of_lane
from sweepflow.engine.memory import memory_share, share_taken
from sweepflow.engine.program import Program, compile_program, layout

GIB = 2**30


def gpu(limit: int, used: int = 0) -> dict[str, int]:
    """As `jax.Device.memory_stats` says it."""
    return {"bytes_limit": limit, "bytes_in_use": used}


@pytest.mark.parametrize(
    ("bytes_each", "statistics", "share"),
    [
        # Eight GPUs of 80 GiB: 60 GiB on each is three quarters of each, and not six times one.
        (60 * GIB, [gpu(80 * GIB)] * 8, 0.75),
        # The fullest of them decides.
        (10 * GIB, [gpu(80 * GIB), gpu(80 * GIB, used=60 * GIB)], 0.5),
        (10 * GIB, [gpu(80 * GIB, used=80 * GIB)], math.inf),
        # CPU devices take from one memory.
        (4 * GIB, [None], 0.25),
        (4 * GIB, [None] * 3, 0.75),
        (4 * GIB, [{}, {"num_allocs": 3}], 0.5),
        (0, [None] * 2, 0.0),
    ],
)
def test_what_is_compared_with_what(
    bytes_each: int, statistics: list[dict[str, int] | None], share: float
) -> None:
    assert share_taken(bytes_each, statistics, 16 * GIB) == share


@given(st.integers(0, 2**40), st.integers(1, 64), st.integers(1, 2**40))
def test_more_devices_take_more_of_a_host_and_no_more_of_an_accelerator(
    bytes_each: int, devices: int, memory: int
) -> None:
    one = share_taken(bytes_each, [gpu(memory)], GIB)
    assert share_taken(bytes_each, [gpu(memory)] * devices, GIB) == one
    alone = share_taken(bytes_each, [None], memory)
    assert share_taken(bytes_each, [None] * devices, memory) == pytest.approx(devices * alone)


def compiled(lanes: int, rows: int) -> Program:
    """Lanes that each add up `rows` float64 rows of their own."""
    shape = layout(lanes, jax.local_device_count(), 1)
    own = {"x": np.zeros((shape.lanes, rows))}
    numbers = np.arange(shape.lanes, dtype=np.int32)
    keys = np.zeros((shape.lanes, 2), np.uint32)

    def lane(shared: Any, own: Any, traced: Any, key: Any, number: Any) -> Any:
        return {"sum": jnp.sum(own["x"]), "number": number}

    return compile_program(segment_of_lane(lane), shape, {}, own, {}, keys, numbers)


def test_a_programs_bytes_are_those_of_one_device() -> None:
    rows = 100_000
    program = compiled(8, rows)
    assert program.layout.devices == jax.local_device_count() > 1
    own = program.layout.slices * rows * 8
    # The slices are laid out anew once: that is a second copy. All devices together would be above this.
    assert own <= program.bytes_each < 3 * own


def test_the_share_of_this_machine() -> None:
    program = compiled(8, 100_000)
    before = psutil.virtual_memory().available
    share = memory_share(program)
    taken = program.bytes_each * program.layout.devices
    # Other programs come and go: the free memory is not the same from one moment to the next.
    assert share == pytest.approx(taken / before, rel=0.5)
