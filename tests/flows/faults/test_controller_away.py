"""SLURM's controller is away while a sweep runs, and a worker is lost meanwhile."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.flows.faults.lab import TWO_JOBS, Lab, bits

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

AWAY_SECONDS = 40.0


def test_a_controller_that_comes_back(lab: Lab, undisturbed: Any, capfd: pytest.CaptureFixture[str]) -> None:
    overrides = lab.walks([number / 10 for number in range(8)], "steps=200000", *TWO_JOBS)
    expected = undisturbed(overrides)

    def take_it_away() -> None:
        both = lab.mid_batch(workers=2)
        lab.slurm.stop_controller()
        for begun in both:
            os.kill(begun.pid, signal.SIGKILL)
        time.sleep(AWAY_SECONDS)
        lab.slurm.start_controller()

    found = lab.sweep(overrides, meanwhile=take_it_away)
    assert found.sound
    assert bits(lab.store) == expected
    again, late = lab.lost()
    assert len(again) == 2 and not late
    assert len(lab.begun()) == 8 + 2, "only what was in flight is computed twice"
    lab.nothing_is_left()
