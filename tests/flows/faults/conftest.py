"""Sweeps on a real SLURM that are disturbed while they run, and compared with undisturbed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sweepflow import sweep
from sweepflow.storage.store import Store
from tests.flows.faults.lab import Bits, Lab, bits
from tests.slurm.cluster import Cluster


@pytest.fixture
def lab(store: Store, prefect: Any, slurm: Cluster) -> Lab:
    """A laboratory with a SLURM; every job of a test has ended after it."""
    return Lab(store, prefect, slurm)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], dict[str, Bits]]:
    """The records of a sweep in this process, without any runner between."""
    known: dict[tuple[str, ...], dict[str, Bits]] = {}

    def run(overrides: list[str]) -> dict[str, Bits]:
        given = tuple(o for o in overrides if not o.startswith(("runner", "store=")))
        batch = [o for o in overrides if o.startswith("runner.batch_size")]
        if given not in known:
            store = Store(tmp_path_factory.mktemp("undisturbed"))
            sweep(overrides=[*given, *batch, f"store={store.root}"])
            known[given] = bits(store)
        return known[given]

    return run
