"""Sweeps of `gated.py`: what runs, and for how long, is up to the test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.flows.faults.gated import gate
from tests.flows.faults.lab import Lab

GATED = Path(__file__).with_name("gated.py")


def gated(lab: Lab, trials: int, *runner: str) -> list[str]:
    """Overrides of a sweep of so many batches of one trial, whose gates are closed."""
    lab.store.root.mkdir(parents=True, exist_ok=True)
    for number in range(trials):
        gate(lab.store.root, number).touch()
    return lab.here(f"workload='{GATED}'", f"number=range(0,{trials})", "runner.batch_size=1", *runner)


def let_go(lab: Lab, numbers: Iterable[int]) -> None:
    """Open gates."""
    for number in numbers:
        gate(lab.store.root, number).unlink()
