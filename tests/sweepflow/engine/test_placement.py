"""Groups that need few devices get different ones, and batches on different devices run side by side."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.engine.placement import DeviceLocks, first_device
from tests.slurm.processes import PATIENCE


@given(st.text(max_size=30), st.integers(1, 64), st.integers(1, 64))
def test_a_group_fits_on_the_devices_that_there_are(key: str, devices: int, there_are: int) -> None:
    devices = min(devices, there_are)
    first = first_device(key, devices, there_are)
    assert first >= 0 and first + devices <= there_are
    assert first % devices == 0, "blocks do not overlap in part"
    assert first == first_device(key, devices, there_are)


def test_groups_spread_over_the_devices() -> None:
    assert {first_device(f"group {i}", 2, 8) for i in range(50)} == {0, 2, 4, 6}
    assert {first_device(f"group {i}", 8, 8) for i in range(50)} == {0}


def test_batches_on_other_devices_do_not_wait_and_those_on_the_same_do() -> None:
    locks = DeviceLocks()
    together = threading.Barrier(2, timeout=PATIENCE)
    inside, most = 0, 0
    count = threading.Lock()

    def meet(devices: range) -> None:
        with locks.hold(devices):
            together.wait()  # passes only while both are held

    def alone(devices: range) -> None:
        nonlocal inside, most
        for _ in range(200):
            with locks.hold(devices):
                with count:
                    inside += 1
                    most = max(most, inside)
                with count:
                    inside -= 1

    for target, sets in ((meet, [range(2), range(2, 4)]), (alone, [range(3), range(2, 4)])):
        threads = [threading.Thread(target=target, args=(devices,)) for devices in sets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
    assert not together.broken
    assert most == 1


def test_a_batch_that_fails_gives_its_devices_back() -> None:
    locks = DeviceLocks()
    with pytest.raises(ValueError, match="lost"), locks.hold([0]):
        raise ValueError("lost")
    with locks.hold([0]):
        pass
