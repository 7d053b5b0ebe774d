"""The cluster of a test process: up with the first test that needs it, down with the process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, lacking

REQUIRED = "SWEEPFLOW_REQUIRE_SLURM"
"""Set to anything, a machine without SLURM fails the tests that need it; else they are skipped."""


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """A cluster of three nodes, one for each test process; SLURM's commands find it in the environment."""
    if reason := lacking():
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no SLURM here: {reason}", pytrace=False)
        pytest.skip(f"needs SLURM; {reason}")
    with tempfile.TemporaryDirectory(prefix="sweepflow-slurm-", dir=_short()) as directory:
        cluster = Cluster(Path(directory), guarded=True).up()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in cluster.environment.items():
                patch.setenv(name, value)
            try:
                yield cluster
            finally:
                cluster.down()


@pytest.fixture
def slurm(slurm_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with every node idle and no job; whatever a test leaves running is ended after it."""
    try:
        yield slurm_cluster
    finally:
        slurm_cluster.clear()


def _short() -> str | None:
    """A directory for short paths, as sockets need them; None where the usual one is."""
    return "/tmp" if len(tempfile.gettempdir()) > 40 else None
