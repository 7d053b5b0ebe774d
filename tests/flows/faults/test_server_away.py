"""Prefect's server is away for 20 s in the middle of a sweep."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sweepflow.flows.server.embedded import silence
from sweepflow.storage.store import Store
from tests.flows.faults.lab import TWO_JOBS, Lab, bits
from tests.prefect_server import Machine, Running, isolated
from tests.slurm.cluster import Cluster
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

AWAY_SECONDS = 20.0


def test_it_is_done_without_and_says_how_it_went(
    store: Store,
    prefect: Any,
    slurm: Cluster,
    undisturbed: Any,
    tmp_path: Path,
    new_home: Callable[[Path], Path],
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    home = tmp_path / "a researcher's home"
    home.mkdir()
    machine = Machine(home, isolated(new_home(tmp_path / "prefect"), PREFECT_API_URL=url))

    def serve() -> Running:
        server = machine.start("prefect", "server", "start", "--port", str(port), "--no-ui")
        server.wait_for(lambda _: silence(url) is None)
        return server

    lab = Lab(store, prefect, slurm)
    overrides = lab.walks([number / 10 for number in range(8)], "steps=200000", *TWO_JOBS)
    expected = undisturbed(overrides)
    try:
        server = serve()
        driver = machine.start("sweepflow", "sweep", *overrides, **slurm.environment)
        lab.mid_batch()
        server.end()
        time.sleep(AWAY_SECONDS)
        serve()
        wait_for(lambda: driver.process.poll() is not None, "the sweep ends")
        assert driver.process.returncode == 0, driver.text
        assert bits(store) == expected
        (run,) = httpx.post(f"{url}/flow_runs/filter", json={}).raise_for_status().json()
        assert run["state"]["name"] == "Completed"
        tasks = httpx.post(f"{url}/task_runs/filter", json={}).raise_for_status().json()
        assert {task["state"]["name"] for task in tasks} <= {"Completed", "Crashed"}, tasks
    finally:
        machine.end()
    assert len(lab.begun()) == 8, "nothing is computed twice"
    lab.nothing_is_left()
