"""The layout's laws: they are what makes a lane's result independent of its batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sweepflow.engine.program import layout

lanes = st.integers(1, 5000)
devices = st.integers(1, 64)
widths = st.integers(1, 64)


@given(lanes, devices, widths)
def test_every_lane_has_a_place(lanes: int, devices: int, width: int) -> None:
    assert layout(lanes, devices, width).lanes >= lanes


@given(lanes, devices, widths)
def test_devices(lanes: int, devices: int, width: int) -> None:
    used = layout(lanes, devices, width).devices
    assert min(2, devices) <= used <= devices


@given(lanes, devices, widths)
def test_the_width_does_not_depend_on_the_batch(lanes: int, devices: int, width: int) -> None:
    assert layout(lanes, devices, width).width == width


@given(lanes, devices, widths)
def test_as_short_as_can_be(lanes: int, devices: int, width: int) -> None:
    """No device runs more slices than an even spread needs: that is how long the batch takes."""
    needed = -(-lanes // width)
    assert layout(lanes, devices, width).slices == -(-needed // devices)


@given(lanes, devices, widths)
def test_padding_is_minimal(lanes: int, devices: int, width: int) -> None:
    """Not a device could be left out, but for the two that are always used."""
    shape = layout(lanes, devices, width)
    if shape.devices > 2:
        assert (shape.devices - 1) * shape.slices * width < lanes
    else:
        assert shape.lanes - lanes < 2 * shape.slices * width


@given(lanes, st.integers(1, 500), devices, widths)
def test_more_lanes_never_take_less(lanes: int, more: int, devices: int, width: int) -> None:
    assert layout(lanes + more, devices, width).slices >= layout(lanes, devices, width).slices
