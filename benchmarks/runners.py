"""Runners: workers against one process, the first task on SLURM, checkpoints, and the cost of a kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.commands import SWEEPFLOW, seconds, surroundings
from benchmarks.overhead import server_start
from sweepflow.storage.store import Store

BATCHES = 16
LONG = (
    *("model=small", "data=diabetes", "target.steps=300", "sampler=sgld", "sampler.draws=1200"),
    "runner.batch_size=1",
)
"""Batches of a few seconds each on one core."""
CHECKPOINT_TURNS = 2
TRIALS, KILLS = 60, 3
COUNTED = """
import os

import jax
import jax.numpy as jnp

from sweepflow import Config, Content, Traced

VERSION = 1
VECTOR_WIDTH = 1


class Config(Config):
    x: Traced[float] = 0.0
    number: Content[int] = 0
    turns: int = 20_000_000


def inputs(config):
    if "SWEEPFLOW_CORES" in os.environ:  # in a worker, and not where the sweep is planned
        with open(os.environ["STARTED"], "a") as file:
            file.write(f"{config.number}\\n")
    return {}


def run(config, inputs, key):
    return {"loss": jax.lax.fori_loop(0, config.turns, lambda i, x: jnp.sin(x + i), config.x)}
"""
"""Workload that records which trials were started, and how often."""


def workers_against_one(directory: Path) -> list[tuple[str, str]]:
    """Measure the wall time of one sweep in one single-threaded process, and on two Dask workers."""
    taskset = shutil.which("taskset")
    if taskset is None or len(os.sched_getaffinity(0)) < 2:
        return [("two Dask workers against one process", "needs two cores and taskset")]
    environment = surroundings(directory)
    server_start(directory)
    one_core = [taskset, "-c", "0", SWEEPFLOW]
    sweep = ["llc", *LONG, f"sampler.seed=range(1,{BATCHES + 1})"]
    # Both sides find the program compiled.
    seconds([*one_core, "llc", *LONG, "sampler.seed=0", f"store={directory / 'warm'}"], environment)
    single = {**environment, "SWEEPFLOW_CORES": "1"}
    local = seconds([*one_core, *sweep, "runner.workers=1", f"store={directory / 'local'}"], single)
    dask = seconds(
        [SWEEPFLOW, *sweep, "runner=dask", "runner.workers=2", f"store={directory / 'dask'}"], environment
    )
    each = [record.seconds["run"] for record in Store(directory / "local").records("est")]
    return [
        (
            f"{BATCHES} batches of {min(each):.1f} to {max(each):.1f} s, one process on one core",
            f"{local:.1f} s",
        ),
        ("the same, runner=dask with 2 workers", f"{dask:.1f} s"),
        ("  ratio (wanted: at least 1.7)", f"{local / dask:.2f}"),
    ]


def first_task_on_slurm(directory: Path) -> list[tuple[str, str]]:
    """Measure the time from the start of the command to the first task on a SLURM worker.

    A server is already running.
    """
    from tests.slurm.cluster import Cluster, lacking

    what = "start of the command to the first task on a SLURM worker (wanted: at most 10 s)"
    if lacking():
        return [(what, "needs SLURM")]
    environment = surroundings(directory)
    server_start(directory)
    cluster = Cluster(Path("/tmp") / f"sweepflow-bench-{os.getpid()}").up()
    try:
        with prefect_server(environment) as url:
            environment |= {**cluster.environment, "PREFECT_API_URL": url}
            options = [
                "runner=slurm",
                "runner.interface=lo",
                "runner.memory=1GB",
                f"store={directory / 'store'}",
            ]
            started = time.time()
            seconds(
                [SWEEPFLOW, "llc", "model=small", "target.steps=300", "sampler=hmc_fast", *options],
                environment,
            )
            code = (
                "from prefect.client.orchestration import get_client\n"
                "with get_client(sync_client=True) as client:\n"
                "    print(min(run.start_time.timestamp() for run in client.read_task_runs()))"
            )
            output = subprocess.run(
                [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
            )
            first = float(output.stdout.split()[-1]) - started
    finally:
        cluster.down()
    return [(what, f"{first:.1f} s")]


def checkpoints(directory: Path) -> list[tuple[str, str]]:
    """Measure the running time of a long chain, in turns with the most frequent checkpoints and with none."""
    environment = surroundings(directory)
    server_start(directory)
    keys = ("llc", "model=base", "data=diabetes", "target.steps=300", "sampler=sgld", "sampler.draws=1000")
    times: dict[str, list[float]] = {"0.1": [], "1e6": []}
    for turn in range(CHECKPOINT_TURNS):
        for wait, found in times.items():
            store = directory / f"store {turn} {wait}"
            seconds([SWEEPFLOW, *keys, f"runner.checkpoint_seconds={wait}", f"store='{store}'"], environment)
            found += [record.seconds["run"] for record in Store(store).records("est")]
    often, never = min(times["0.1"]), min(times["1e6"])
    return [
        (
            f"a chain of {never:.0f} s, with checkpoints as often as they may be (wanted: at most 1.02)",
            f"{often / never:.3f} times as long",
        ),
    ]


def nothing_to_do(directory: Path) -> list[tuple[str, str]]:
    """Measure a finished sweep of 1,000 trials that is started again."""
    environment = surroundings(directory)
    command = [SWEEPFLOW, "sweep", "workload=landscape", "x=interval(-2,2)", "y=interval(-2,2)"]
    command += ["--samples", "1000", f"store={directory / 'store'}"]
    seconds(command, environment)
    again = seconds(command, environment)
    return [("a finished sweep of 1,000 trials, again (wanted: at most 10 s)", f"{again:.1f} s")]


def cost_of_kills(directory: Path) -> list[tuple[str, str]]:
    """Count the trials that are started more than once when workers are killed during a sweep."""
    started = directory / "started.txt"
    (directory / "counted.py").write_text(COUNTED)
    environment = surroundings(directory, STARTED=str(started))
    server_start(directory)
    command = [SWEEPFLOW, "sweep", f"workload={directory / 'counted.py'}", f"number=range(0,{TRIALS})"]
    command += ["runner=dask", "runner.workers=2", "runner.batch_size=2", f"store={directory / 'store'}"]
    sweep = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    killed = 0
    while killed < KILLS and sweep.poll() is None:
        done = len(list((directory / "store").glob("trials/??/*.json")))
        if done >= (killed + 1) * TRIALS // (KILLS + 2):
            (worker, *_) = [
                process
                for process in psutil.Process(sweep.pid).children(recursive=True)
                if "distributed.cli.dask_worker" in process.cmdline()
            ]
            worker.send_signal(signal.SIGKILL)
            killed += 1
        time.sleep(0.05)
    assert sweep.wait() == 0
    again = len(started.read_text().split()) - TRIALS
    return [
        (f"trials computed twice, {killed} kills of a worker, batches of 2", f"{again}"),
        ("  each kill (wanted: at most the batch in flight)", f"{again / killed:.1f}"),
    ]


@contextmanager
def prefect_server(environment: dict[str, str]) -> Iterator[str]:
    """Run a Prefect server on a free port, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("prefect")),
        "server",
        "start",
        "--no-ui",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + 120
        while not _answers(url):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no server at {url}")
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
