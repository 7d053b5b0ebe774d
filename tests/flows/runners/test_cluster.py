"""The scheduler, and the jobs that are kept alive, with workers in threads of this process."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cloudpickle
import pytest
from distributed import Security, Worker
from prefect import task
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext, serialize_context
from prefect.flows import load_flow_from_entrypoint
from prefect.results import ResultStore
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)
from prefect.task_runners import ThreadPoolTaskRunner

from sweepflow.flows.runners import cluster as module
from sweepflow.flows.runners.cluster import Cluster, leave_the_flow_here
from sweepflow.flows.runners.encryption import encrypted
from sweepflow.flows.runners.jobs import REFUSED, Ended, Held, RunnerError, StartError
from sweepflow.flows.runners.pool import Loss
from sweepflow.flows.runners.supervision import Limits
from sweepflow.tasks.progress import announce_points
from sweepflow.tasks.worker import announce_began
from tests.slurm.processes import PATIENCE, wait_for

LIMITS = Limits(fewest_jobs=0, most_jobs=2, first_jobs=2, replacements=9, connect_seconds=60.0)
CANCELLED = Ended("CANCELLED on n1", innocent=True)
FAILED = Ended("FAILED, signal 9 on n1", innocent=False)


class Site:
    """Jobs whose workers are threads; they end when a test says so.

    Args:
        workers: Of each job; none of those that end before they report.
        stillborn: How a job ends that never runs a worker; None for one that lives.
        refusals: What starting a job says, before it works.
    """

    workers_each = 1

    def __init__(
        self, workers: int = 1, stillborn: Ended | None = None, refusals: Sequence[StartError] = ()
    ) -> None:
        self.workers, self.stillborn, self.refusals = workers, stillborn, list(refusals)
        self.security: Security | None = None
        self.silent = False
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.ends: dict[str, Ended] = {}
        self._workers: dict[str, list[Worker]] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    def start(self, scheduler: str) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        job = str(len(self.started) + 1)
        self.started.append(job)
        self._workers[job] = []
        if self.stillborn is not None:
            self.ends[job] = self.stillborn
            return job
        assert self.loop is not None
        for number in range(self.workers):
            asyncio.run_coroutine_threadsafe(self._report(scheduler, job, number), self.loop).result(30)
        return job

    async def _report(self, scheduler: str, job: str, number: int) -> None:
        worker = Worker(
            scheduler,
            name=f"sweepflow-{job}-{number}",
            nthreads=1,
            memory_limit=0,
            security=self.security,
            dashboard=False,
        )
        self._workers[job].append(await worker)

    def end(self, job: str, how: Ended) -> None:
        """A job ends, and its workers with it."""
        self.ends[job] = how
        for worker in self._workers[job]:
            assert self.loop is not None
            asyncio.run_coroutine_threadsafe(
                worker.close(nanny=False, executor_wait=False), self.loop
            ).result(30)

    def held(self) -> list[Held] | None:
        return None if self.silent else [Held(j, "running") for j in self.started if j not in self.ends]

    def ended(self, job_id: str) -> Ended | None:
        return self.ends.get(job_id)

    def last_words(self, job_id: str) -> str:
        return f"the last words of {job_id}"

    def about(self) -> str:
        return "#SBATCH --what-was-asked-for"

    def cancel(self, job_ids: Sequence[str]) -> None:
        for job in job_ids:
            self.cancelled.append(job)
            self.end(job, CANCELLED)

    def close(self) -> None:
        self.cancel([job for job in self.started if job not in self.ends])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.05)


@contextmanager
def opened(site: Site, file: Path, limits: Limits = LIMITS, submit_seconds: float = 0.0) -> Iterator[Cluster]:
    with encrypted(file) as security:
        key = {f"tls_{name}": str(file) for name in ("ca_file", "worker_cert", "worker_key")}
        site.security = Security(require_encryption=True, **key)
        cluster = Cluster(site, limits, security=security, submit_seconds=submit_seconds, host="127.0.0.1")
        begin = cluster._watch.start

        def start() -> None:
            site.loop = cluster._cluster.loop.asyncio_loop  # type: ignore[attr-defined]
            begin()

        cluster._watch.start = start  # type: ignore[method-assign]
        with cluster:
            yield cluster


def has(cluster: Cluster, free: int) -> None:
    wait_for(cluster.free, f"{free} workers are free", until=lambda found: found == free)


def ended(cluster: Cluster, future: object) -> None:
    """Wait until a batch has ended, and it is known how."""
    while cluster.events.get(timeout=PATIENCE) is not future:
        continue


def failure(cluster: Cluster) -> RunnerError:
    """What the cluster says instead of going on."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        event: Any = cluster.events.get(timeout=PATIENCE)
        if isinstance(event, Exception):
            assert isinstance(event, RunnerError)
            return event
    raise AssertionError("it goes on")


def test_jobs_come_with_the_work_and_are_ended_with_the_sweep(tmp_path: Path) -> None:
    site = Site()
    with opened(site, tmp_path / "key") as cluster:
        has(cluster, 2)
        assert site.started == ["1", "2"], "as many as are asked for before it is known how much there is"
        cluster.outstanding(20)
        has(cluster, 2)
        assert site.cancelled == [] and cluster.lost == 0
    assert site.cancelled == ["1", "2"] and not cluster._watch.is_alive()


def test_a_lost_worker_is_counted_and_its_job_replaced(tmp_path: Path) -> None:
    site = Site()
    with opened(site, tmp_path / "key") as cluster:
        has(cluster, 2)
        site.end("1", FAILED)
        wait_for(lambda: cluster.lost, "it is seen")
        wait_for(lambda: site.started, "another job", until=lambda jobs: jobs == ["1", "2", "3"])
        has(cluster, 2)
        assert cluster.lost == 1


def test_both_workers_of_a_lost_job_are_counted_and_one_job_replaces_them(tmp_path: Path) -> None:
    site = Site(workers=2)
    site.workers_each = 2
    with opened(site, tmp_path / "key", Limits(0, 1, 1, 3, 60.0)) as cluster:
        has(cluster, 2)
        site.end("1", CANCELLED)
        wait_for(lambda: cluster.lost, "both are seen", until=lambda lost: lost == 2)
        wait_for(lambda: site.started, "another job", until=lambda jobs: jobs == ["1", "2"])
        has(cluster, 2)
        assert cluster.lost == 2


def test_a_worker_that_retires_is_replaced_and_not_lost(tmp_path: Path) -> None:
    site = Site()
    with opened(site, tmp_path / "key") as cluster:
        has(cluster, 2)
        cluster.retire("sweepflow-1-0")
        wait_for(lambda: site.started, "another job", until=lambda jobs: jobs == ["1", "2", "3"])
        has(cluster, 2)
        assert site.cancelled[0] == "1" and cluster.lost == 0


def test_more_losses_than_may_be_end_the_sweep(tmp_path: Path) -> None:
    site = Site()
    with opened(site, tmp_path / "key", Limits(0, 2, 2, 0, 60.0)) as cluster:
        has(cluster, 2)
        site.end("2", FAILED)
        error = str(failure(cluster))
    assert "more than 0 workers were lost (runner.replacements)" in error
    assert "#SBATCH --what-was-asked-for" in error


def test_jobs_that_end_before_they_report_end_the_sweep_with_their_last_words(tmp_path: Path) -> None:
    site = Site(stillborn=Ended("FAILED, exit code 127 on n1", innocent=False, code=127))
    with opened(site, tmp_path / "key") as cluster:
        error = str(failure(cluster))
    assert "jobs in a row ended before a worker of theirs reported for work" in error
    last = site.started[-1]
    assert f"job {last}: FAILED, exit code 127 on n1; the last words of {last}" in error
    assert len(site.started) <= 4, "it does not go on to start them"


def test_a_worker_that_refuses_to_work_ends_the_sweep_at_once(tmp_path: Path) -> None:
    site = Site(stillborn=Ended("FAILED", innocent=False, code=REFUSED))
    with opened(site, tmp_path / "key") as cluster:
        error = str(failure(cluster))
    assert "a worker refused to work" in error and "the last words of 1" in error
    assert site.started == ["1", "2"]


@task
def batch(number: int, gate: Path) -> int:
    announce_began()
    gate.with_name(f"begun {number}").touch()
    while gate.exists():
        time.sleep(0.01)
    return number


@pytest.mark.server
@pytest.mark.parametrize(
    ("how", "loss"),
    [
        (FAILED, Loss("job 1: FAILED, signal 9 on n1", innocent=False)),
        (Ended("TIMEOUT", False, late=True), Loss("job 1: TIMEOUT", innocent=False, late=True)),
        ("left", Loss("job 1 left before its walltime", innocent=True, late=True)),
    ],
    ids=["killed", "walltime", "left"],
)
def test_a_worker_has_one_batch_and_a_batch_whose_worker_is_lost_comes_back_with_why(
    how: Any, loss: Loss, tmp_path: Path, prefect: Any
) -> None:
    site, gate = Site(), tmp_path / "gate"
    gate.touch()
    quiet = {PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}
    with temporary_settings(quiet), opened(site, tmp_path / "key") as cluster:
        try:
            has(cluster, 2)
            lost, kept = (cluster.submit(batch, {"number": number, "gate": gate}) for number in range(2))
            assert cluster.free() == 0, "each has one"
            assert cluster.submit(batch, {"number": 2, "gate": gate}) is None
            wait_for((tmp_path / "begun 0").exists, "it is begun")
            if how == "left":
                cluster.retire("sweepflow-1-0")
            site.end("1", FAILED if how == "left" else how)
            ended(cluster, lost)
            assert lost is not None and kept is not None
            assert cluster.loss(lost) == loss
            assert cluster.loss(lost) is None, "asked once"
        finally:
            gate.unlink()
        ended(cluster, kept)
        assert kept.result() == 1 and cluster.loss(kept) is None and cluster.lost == (how != "left")
        has(cluster, 2)


@task
def counted(name: str) -> None:
    announce_points(name, 1, 4)


@pytest.mark.server
def test_what_workers_tell_arrives_as_dask_sends_it(
    tmp_path: Path, prefect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    shown: SimpleQueue[tuple[str, int, int]] = SimpleQueue()
    quiet = {PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}
    with temporary_settings(quiet), opened(site, tmp_path / "key") as cluster:
        # What is heard, and not what the worker shows itself: it is a thread of this process.
        monkeypatch.setattr(module, "show_points", lambda *points: shown.put(points))
        has(cluster, 2)
        assert cluster.submit(counted, {"name": "batch 1"}) is not None
        assert tuple(shown.get(timeout=PATIENCE)) == ("batch 1", 1, 4)

        def broken(*_: object) -> None:
            raise ValueError("a handler that raises")

        monkeypatch.setattr(module, "show_points", broken)
        assert cluster.submit(counted, {"name": "batch 2"}) is not None
        while not isinstance(event := cluster.events.get(timeout=PATIENCE), ValueError):
            continue
        assert str(event) == "a handler that raises", "it is told, and not logged where nobody looks"


@pytest.mark.server
def test_a_batch_is_not_given_to_a_worker_that_has_just_died(
    tmp_path: Path, prefect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site()
    quiet = {PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}
    with temporary_settings(quiet), opened(site, tmp_path / "key", Limits(0, 1, 1, 9, 60.0)) as cluster:
        has(cluster, 1)
        with monkeypatch.context() as patch:
            patch.setattr(module, "TICK_SECONDS", 600.0)  # nobody looks for a while
            look = threading.Event()
            patch.setattr(cluster, "_look", look.set)
            assert look.wait(PATIENCE)
            site.end("1", FAILED)
            assert cluster.submit(counted, {"name": "batch 1"}) is None


def refusal(passes: bool) -> StartError:
    error = StartError("SLURM does not take the job", got="Unable to contact slurm controller")
    error.passes = passes
    return error


def test_a_job_that_is_not_taken_ends_the_sweep_where_there_is_no_other(tmp_path: Path) -> None:
    with (
        opened(Site(refusals=[refusal(passes=False)]), tmp_path / "key") as cluster,
        pytest.raises(StartError, match="does not take the job"),
    ):
        raise failure(cluster)


def test_a_controller_that_is_away_is_asked_again(tmp_path: Path) -> None:
    site = Site(refusals=[refusal(passes=True)] * 2)
    with opened(site, tmp_path / "key", submit_seconds=30.0) as cluster:
        said = wait_for(lambda: cluster.waiting, "it says so", until=lambda text: "to start a job" in text)
        assert said == "to start a job: Unable to contact slurm controller"
        has(cluster, 2)


def test_a_controller_that_is_away_for_too_long_ends_the_sweep(tmp_path: Path) -> None:
    with (
        opened(Site(refusals=[refusal(passes=True)] * 1000), tmp_path / "key", submit_seconds=0.1) as cluster,
        pytest.raises(StartError, match="does not take the job"),
    ):
        raise failure(cluster)


def test_connected_workers_need_no_controller(tmp_path: Path) -> None:
    site = Site()
    with opened(site, tmp_path / "key", submit_seconds=0.1) as cluster:
        has(cluster, 2)
        site.silent = True
        wait_for(lambda: cluster.waiting, "it says so", until=lambda text: "does not answer" in text)
        assert cluster.free() == 2
        for job in ("1", "2"):
            site.end(job, FAILED)
        error = str(failure(cluster))
    assert "the cluster's controller does not answer for" in error and "no worker is left" in error


OF_ONE_FILE = """
from prefect import flow

@flow(name="a flow of mine")
def mine():
    pass
"""


def test_a_batch_needs_no_module_of_its_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect makes a module of the file of a deployment's entrypoint, which no worker can import."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "of_one_file.py").write_text(OF_ONE_FILE)
    flow = load_flow_from_entrypoint(f"{tmp_path / 'of_one_file.py'}:mine")

    def sent() -> bytes:
        leave_the_flow_here()
        return cloudpickle.dumps(serialize_context())

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        client = get_client(sync_client=True)
    with FlowRunContext(
        flow=flow, client=client, task_runner=ThreadPoolTaskRunner(), result_store=ResultStore()
    ) as context:
        assert b"of_one_file" in cloudpickle.dumps(serialize_context())
        content = contextvars.copy_context().run(sent)
        assert context.flow is flow, "here it is as it was"
    del sys.modules["of_one_file"]
    assert b"of_one_file" not in content and b"a flow of mine" in content
