"""Workers are asked for while the plan is made: they are the plan's, or are ended again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from sweepflow.compose.place import place
from sweepflow.flows.runners.asked import Asked, asked
from sweepflow.flows.runners.cluster import Cluster
from sweepflow.flows.runners.job_script import job_name
from sweepflow.flows.runners.pool import Threads
from sweepflow.flows.runners.slurm_command import SlurmError
from sweepflow.schema.runner import DaskRunner, LocalRunner, SlurmRunner
from sweepflow.storage.store import Store
from tests.slurm.processes import PATIENCE

RUN = "6cee6bca-0000-4000-8000-000000000000"
ONE = DaskRunner(workers=1)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("sweepflow")}


def free(pool: object) -> int:
    """How many workers are free, once there is any."""
    assert isinstance(pool, Cluster)
    deadline = time.monotonic() + PATIENCE
    while not pool.free() and time.monotonic() < deadline:
        pool.events.get(timeout=PATIENCE)
    return pool.free()


def test_a_local_runner_needs_none(store: Store) -> None:
    with asked(place("sweep", ["workload=landscape", f"store={store.root.name}"]), RUN) as workers:
        assert workers.job_name is None and workers._thread is None
        with workers.pool(LocalRunner(workers=3), store) as pool:
            assert isinstance(pool, Threads) and pool.free() == 3


def test_a_command_line_that_is_not_sound_asks_for_nothing(store: Store) -> None:
    with asked(place("sweep", ["workload=landscape", "runner=dask", "runner.wrokers=2"]), RUN) as workers:
        assert workers._thread is None and threads() == set()


def test_jobs_are_named_for_their_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PATH", str(store.root))
    workers = Asked(SlurmRunner(), store.root, RUN)
    assert workers.job_name == job_name(RUN)
    workers.close()


def test_what_is_wrong_is_said_by_the_pool_and_not_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(store.root))
    runner = SlurmRunner(submit_seconds=0.01)
    workers = Asked(runner, store.root, RUN)
    with pytest.raises(SlurmError, match="there is no scontrol on"), workers.pool(runner, store):
        pass


@pytest.mark.slow
def test_those_that_were_asked_for_are_used_and_end_with_the_plan(store: Store) -> None:
    workers = Asked(ONE, store.root, RUN)
    with workers.pool(ONE, store) as pool:
        assert free(pool) == 1
        assert store.paths.run_key(RUN).exists() and "sweepflow-workers" in threads()
    assert threads() == set() and not store.paths.run_key(RUN).exists()


def test_those_that_nobody_uses_are_ended(store: Store) -> None:
    workers = Asked(ONE, store.root, RUN)
    workers.close()
    assert threads() == set() and not store.paths.run_key(RUN).exists()


def test_a_plan_that_wants_others_gets_others(store: Store, tmp_path: Path) -> None:
    workers = Asked(ONE, tmp_path / "another store", RUN)
    with workers.pool(ONE, store) as pool:
        assert isinstance(pool, Cluster) and store.paths.run_key(RUN).exists()
        assert not Store(tmp_path / "another store").paths.run_key(RUN).exists()
