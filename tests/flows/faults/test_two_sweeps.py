"""Two sweeps of the same trials at once in one store."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sweepflow.storage.leases import leases_by_owner
from tests.flows.faults.lab import ON_SLURM, Lab, bits
from tests.prefect_server import Machine
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]


def test_both_have_every_result_and_nothing_is_torn(lab: Lab, office: Machine, undisturbed: Any) -> None:
    overrides = lab.walks([number / 10 for number in range(8)], "steps=1000000", *ON_SLURM, "runner.jobs=1")
    expected = undisturbed(overrides)
    other = office.start("sweepflow", "sweep", *overrides, **lab.slurm.environment)
    wait_for(lab.begun, "the other one is at work")
    assert lab.sweep(overrides).sound
    assert wait_for(lambda: other.process.poll() is not None, "the other one ends")
    assert other.process.returncode == 0, other.text
    assert "8 trials" in other.text
    assert bits(lab.store) == expected
    assert len({begun.job for begun in lab.begun()}) == 2, "both were at work"
    begun = Counter(trial for batch in lab.begun() for trial in batch.ids)
    assert {*begun.values()} == {1} and len(begun) == 8, "each of them is run by one of the two"
    assert not leases_by_owner(lab.store)
    lab.nothing_is_left()
