"""Threads of this process: who gets a batch, and what ending them waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import task
from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

from sweepflow.engine.devices import cores
from sweepflow.flows.runners.pool import Threads
from sweepflow.schema.runner import LocalRunner
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = pytest.mark.server

TWO = LocalRunner(workers=2)
GATE = threading.Event()
BEGUN: list[int] = []


@task
def batch(number: int) -> int:
    BEGUN.append(number)
    GATE.wait(PATIENCE)
    if number < 0:
        raise ValueError(f"no such batch: {number}")
    return number


@pytest.fixture(autouse=True)
def _closed(prefect: Any) -> Iterator[None]:
    GATE.clear()
    BEGUN.clear()
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        yield
    GATE.set()


def test_each_takes_one_batch_and_says_when_it_has_ended() -> None:
    with Threads(TWO) as pool:
        futures = [pool.submit(batch, {"number": number}) for number in (1, -1)]
        assert pool.free() == 0 and pool.events.empty()
        GATE.set()
        ended = [pool.events.get(timeout=PATIENCE) for _ in futures]
        assert set(ended) == set(futures) and pool.free() == 2
        assert futures[0].result() == 1
        with pytest.raises(ValueError, match="no such batch: -1"):
            futures[1].result()
        assert [pool.loss(future) for future in futures] == [None, None], "a thread is never lost"
        assert (pool.lost, pool.waiting) == (0, "")


def test_without_a_number_there_is_one_for_every_two_cores_within_bounds() -> None:
    assert Threads(LocalRunner()).free() == min(8, max(2, cores() // 2))


def begun(pool: Threads) -> Any:
    """A batch that runs until the gate is open, a moment after this."""
    future = pool.submit(batch, {"number": 1})
    wait_for(lambda: BEGUN, "it runs")
    threading.Timer(0.3, GATE.set).start()
    return future


def test_an_error_of_the_sweep_waits_for_what_runs() -> None:
    pool = Threads(TWO)
    pool.__enter__()
    running = begun(pool)
    pool.__exit__(RuntimeError, RuntimeError(), None)
    assert running.wrapped_future.done() and GATE.is_set()


def test_an_interrupted_sweep_takes_back_what_is_queued() -> None:
    pool = Threads(LocalRunner(workers=1))
    pool.__enter__()
    running = begun(pool)
    queued = pool.submit(batch, {"number": 2})
    pool.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert queued.wrapped_future.cancelled() and running.wrapped_future.done()
    assert BEGUN == [1]
