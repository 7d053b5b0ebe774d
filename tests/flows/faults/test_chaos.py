"""Workers are lost at random over one sweep: a few here, and twenty with `make chaos`."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.flows.faults.lab import ON_SLURM, Lab, bits
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

KILLS = int(os.environ.get("SWEEPFLOW_CHAOS", "4"))
DRIFTS = [number / 1000 for number in range(10 * KILLS)]


def test_nothing_is_lost_and_nothing_computed_twice_but_what_was_in_flight(
    lab: Lab, undisturbed: Any
) -> None:
    overrides = lab.walks(DRIFTS, "steps=50000", *ON_SLURM, "runner.jobs=3", batch_size=4)
    expected = undisturbed(overrides)
    written: dict[str, int] = {}
    rng = random.Random(4)

    def look() -> None:
        """Remember when records were written; none is ever written again."""
        for path in lab.written():
            with suppress(FileNotFoundError):
                assert written.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns

    def disturb() -> None:
        for number in range(KILLS):
            victim = rng.choice(lab.mid_batch(done=8 * number))
            look()
            if rng.random() < 0.5:
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
            else:
                lab.slurm.cancel(int(victim.job))
            wait_for(lambda pid=victim.pid: not psutil.pid_exists(pid), "it has ended")

    found = lab.sweep(overrides, meanwhile=disturb)
    look()
    assert found.sound and len(written) == len(DRIFTS)
    assert bits(lab.store) == expected, "zero lost"
    again, _ = lab.lost()
    assert 1 <= len(again) <= KILLS
    times = Counter(trial_id for begun in lab.begun() for trial_id in begun.ids)
    assert sum(times.values()) - len(DRIFTS) <= 4 * len(again), "but those in flight when killed"
    lab.nothing_is_left()
