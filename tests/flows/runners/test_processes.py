"""Worker processes of this machine end with their sweep, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sweepflow.flows.runners.processes import Processes
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = pytest.mark.slow

DRIVER = """
import sys, time
from pathlib import Path
from sweepflow.flows.runners.processes import Processes
jobs = Processes(2, {}, Path(sys.argv[1]), "sweepflow-test", 60.0)
jobs.start("tcp://127.0.0.1:9")
print("started", flush=True)
time.sleep(600)  # it is killed long before
"""
NOBODY = "tcp://127.0.0.1:9"
"""Where no scheduler listens: workers try until they are ended."""


@pytest.fixture
def jobs(tmp_path: Path) -> Processes:
    return Processes(2, {}, tmp_path / "the logs", "sweepflow-test", 60.0)


def test_a_worker_is_held_until_it_is_ended(jobs: Processes) -> None:
    job = jobs.start(NOBODY)
    assert [held.id for held in jobs.held()] == [job] and jobs.ended(job) is None
    jobs.cancel([job])
    assert jobs.held() == []
    ended = jobs.ended(job)
    assert ended is not None and not ended.innocent


def share_of(jobs: Processes, job: str) -> str:
    """The devices in a worker's environment, which the kernel shows shortly after the program has begun."""
    process = psutil.Process(jobs._started[job].pid)
    return wait_for(process.environ, "an environment")["CUDA_VISIBLE_DEVICES"]


def test_each_has_its_share_of_the_devices(jobs: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    ids = [jobs.start(NOBODY), jobs.start(NOBODY)]
    try:
        assert {share_of(jobs, job) for job in ids} == {"5", "3"}
        jobs.cancel(ids[:1])
        assert share_of(jobs, jobs.start(NOBODY)) == "5"
    finally:
        jobs.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked to end them")
def test_nothing_outlives_a_driver_that_is_killed(tmp_path: Path) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "the logs")], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    try:
        assert driver.stdout.readline() == "started\n"
        family = psutil.Process(driver.pid)

        def all_there() -> list[psutil.Process]:
            found = family.children(recursive=True)
            return found if any("dask_worker" in " ".join(p.cmdline()) for p in found) else []

        workers = wait_for(all_there, "a worker")
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
        assert not alive
    finally:
        if driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
        driver.stdout.close()
