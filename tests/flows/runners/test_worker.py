"""The process that starts a job's workers, under a real Dask scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

from sweepflow.flows.runners import slurm as commands
from sweepflow.flows.runners.job_script import job_script, log_path
from sweepflow.flows.runners.jobs import REFUSED
from sweepflow.flows.runners.probe import expectations, last_words
from sweepflow.flows.runners.worker import command
from sweepflow.schema.runner import SlurmRunner
from sweepflow.storage.store import Store
from tests.slurm.cluster import Cluster
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A scheduler in this process, without workers."""
    with (
        LocalCluster(
            n_workers=0, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@dataclass
class Job:
    """What a job's script starts, with its output in a file."""

    client: Client
    directory: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.directory / "job.log"

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        scheduler = self.client.scheduler_info()["address"]
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("SWEEPFLOW_", "XLA_", "CUDA_"))}
        with self.log.open("wb") as out:
            process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "sweepflow.flows.runners.worker",
                        scheduler,
                        "--name",
                        "sweepflow-7",
                    ),
                    *("--nthreads", "4", "--local-directory", str(self.directory), *arguments),
                ],
                env={**kept, **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def names(self) -> set[str]:
        return {worker["name"] for worker in self.client.scheduler_info(n_workers=-1)["workers"].values()}

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        wait_for(lambda: not self.names(), "the scheduler has no worker left")


@pytest.fixture
def job(client: Client, tmp_path: Path) -> Iterator[Job]:
    directory = tmp_path / "a node's scratch"
    directory.mkdir()
    started = Job(client, directory)
    yield started
    started.end()


def seen() -> dict[str, Any]:
    """Run by a worker: its devices and threads."""
    from sweepflow.engine.devices import configure, cores

    loaded = "jax" in sys.modules
    configure()
    import jax

    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XLA_FLAGS")
    return {
        **{name: os.environ.get(name) for name in names},
        "cores": cores(),
        "devices": jax.local_device_count(),
        "early": loaded,
        "pid": os.getpid(),
    }


def test_a_job_has_workers_of_one_thread_with_one_device_each(job: Job) -> None:
    theirs = {"XLA_FLAGS": "--xla_force_host_platform_device_count=9", "SWEEPFLOW_GIVEN_XLA_FLAGS": ""}
    job.start(SWEEPFLOW_PROCESSES="2", CUDA_VISIBLE_DEVICES="5,3", **theirs)
    wait_for(lambda: len(job.names()) == 2, "both have joined")
    workers = job.client.scheduler_info(n_workers=-1)["workers"].values()
    assert {w["name"]: (w["nthreads"], w["memory_limit"]) for w in workers} == {
        "sweepflow-7-0": (1, 0),
        "sweepflow-7-1": (1, 0),
    }
    found = list(job.client.run(seen).values())
    assert {worker["CUDA_VISIBLE_DEVICES"] for worker in found} == {"5", "3"}
    for worker in found:
        assert not worker["early"], "JAX was imported before there was work"
        assert (worker["cores"], worker["OMP_NUM_THREADS"], worker["OPENBLAS_NUM_THREADS"]) == (1, "1", "1")
        # Two devices on one core, as programs are laid out for two at least; not the nine of the driver.
        assert worker["devices"] == 2 and "multi_thread_eigen=false" in worker["XLA_FLAGS"]


def test_workers_end_with_the_process_that_is_killed(job: Job) -> None:
    process = job.start(SWEEPFLOW_PROCESSES="2")
    wait_for(lambda: len(job.names()) == 2, "both have joined")
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    process.kill()
    assert psutil.wait_procs(workers, timeout=PATIENCE)[1] == []


def test_workers_leave_when_the_job_is_asked_to_end(job: Job) -> None:
    process = job.start(SWEEPFLOW_PROCESSES="2")
    wait_for(lambda: len(job.names()) == 2, "both have joined")
    workers = psutil.Process(process.pid).children()
    process.terminate()
    process.wait(PATIENCE)
    assert not any(worker.is_running() for worker in workers)


def test_a_worker_that_does_not_leave_is_made_to(job: Job) -> None:
    process = job.start(SWEEPFLOW_PROCESSES="1")
    wait_for(lambda: len(job.names()) == 1, "it has joined")
    (worker,) = psutil.Process(process.pid).children()
    worker.suspend()  # as one in an endless computation: it hears nothing
    process.terminate()
    assert process.wait(PATIENCE) == 128 + signal.SIGKILL


def test_a_worker_that_is_killed_is_started_again(job: Job) -> None:
    process = job.start(SWEEPFLOW_PROCESSES="2")
    wait_for(lambda: len(job.names()) == 2, "both have joined")
    first = min(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    first.kill()
    wait_for(lambda: len(job.names()) == 1, "one has gone")
    wait_for(lambda: len(job.names()) == 2, "another has come in its place")
    job.client.retire_workers()
    assert process.wait(PATIENCE) == 0, "what was made good does not count"


def test_workers_that_leave_end_the_job_well(job: Job) -> None:
    process = job.start(SWEEPFLOW_PROCESSES="2")
    wait_for(lambda: len(job.names()) == 2, "both have joined")
    job.client.retire_workers()
    assert process.wait(PATIENCE) == 0


def test_a_lifetime_ends_a_worker(job: Job) -> None:
    assert job.start("--lifetime", "1", "--lifetime-stagger", "0").wait(PATIENCE) == 0


def test_a_worker_without_a_scheduler_gives_up(job: Job, tmp_path: Path) -> None:
    with job.log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sweepflow.flows.runners.worker", "tcp://127.0.0.1:9"),
                *("--name", "sweepflow-8", "--death-timeout", "2", "--local-directory", str(tmp_path)),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    job.started.append(process)
    assert process.wait(PATIENCE) != 0


def test_a_worker_with_another_version_never_joins(job: Job, store: Store) -> None:
    expected = expectations(store)
    told = json.loads(expected["SWEEPFLOW_EXPECT"])
    told["versions"]["jax"], told["server"] = "0.0.1", False
    joined: list[str] = []
    process = job.start(**{**expected, "SWEEPFLOW_EXPECT": json.dumps(told), "SWEEPFLOW_PROCESSES": "2"})
    while process.poll() is None:
        joined += job.names()
        time.sleep(0.02)
    assert process.returncode == REFUSED and joined == []
    reason = last_words(job.log)
    assert "0.0.1 here" in reason and "do:" in reason and "runner.python" in reason


def test_a_worker_that_fits_joins(job: Job, store: Store) -> None:
    expected = expectations(store)
    told = {**json.loads(expected["SWEEPFLOW_EXPECT"]), "server": False}
    job.start(**{**expected, "SWEEPFLOW_EXPECT": json.dumps(told)})
    wait_for(lambda: job.names() == {"sweepflow-7-0"}, "it has joined")
    assert {path.name for path in store.root.iterdir()} == {".token"}, "the probe has left something"


def test_of_options_given_twice_the_policy_counts() -> None:
    given = ["tcp://a:1", "--name", "sweepflow-7", "--nthreads", "8", "--memory-limit", "3GiB"]
    built = command(given, 1, 2)
    assert built[1:4] == ["-P", "-m", "distributed.cli.dask_worker"]
    last = {name: built[len(built) - 1 - built[::-1].index(name) + 1] for name in built if name[:2] == "--"}
    assert (last["--name"], last["--nthreads"], last["--memory-limit"]) == ("sweepflow-7-1", "1", "0")
    assert "--no-nanny" in built and last["--preload"] == "sweepflow.flows.runners.probe"


@pytest.mark.slurm
def test_a_real_job_from_its_script_to_its_log(
    slurm: Cluster, job: Job, tmp_path: Path, store: Store
) -> None:
    """Header, quoting, devices and names as SLURM and bash take them, started again by SLURM on the way."""
    logs = tmp_path / 'a researcher\'s 100% "logs"'
    logs.mkdir()
    runner = SlurmRunner(gpus=1, cores=2, memory="300MB", interface="lo", scratch=str(tmp_path / "scr atch"))
    told = expectations(store)
    expected = {**json.loads(told["SWEEPFLOW_EXPECT"]), "server": False}
    script = job_script(
        runner,
        scheduler=job.client.scheduler_info()["address"],
        job_name="sweepflow-test",
        logs=logs,
        environment={**told, "SWEEPFLOW_EXPECT": json.dumps(expected)},
    )
    job_id = commands.submit(script)
    wait_for(lambda: job.names() == {f"sweepflow-{job_id}-0"}, "its worker has joined")
    (found,) = job.client.run(seen).values()
    assert found["CUDA_VISIBLE_DEVICES"] == "0" and found["cores"] == 1
    slurm.requeue(int(job_id))
    wait_for(lambda: job.names() == {f"sweepflow-{job_id}r1-0"}, "it has joined again, as another")
    commands.cancel([job_id])
    wait_for(lambda: commands.ended(job_id) is not None, "it has ended")
    wait_for(lambda: not job.names(), "its worker has left")
    assert "CANCELLED" in last_words(log_path(logs, "sweepflow-test", job_id))
