"""Workers that a flow asks for while it makes its plan."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import Security

from flows.runners import slurm
from flows.runners.cluster import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, SETTLE_SECONDS, Cluster
from flows.runners.encryption import TLS, encrypted
from flows.runners.job_script import job_name
from flows.runners.pool import Pool, Threads
from flows.runners.supervision import Limits
from sweepflow.engine.devices import gpus, worker_count
from sweepflow.schema.runner import DaskRunner, LocalRunner, RunnerConfig, SlurmRunner
from sweepflow.store.store import Store


class Asked:
    """Workers that may be on their way.

    Attributes:
        job_name: Of their SLURM jobs; None where there are none.

    Args:
        runner: What is asked for already; None where that is not known yet.
        store: Where they keep results.
        flow_run_id: Names their jobs.
    """

    def __init__(
        self, runner: RunnerConfig | None = None, store: Path | None = None, flow_run_id: str = ""
    ) -> None:
        self._runner, self._store, self._flow_run_id = runner, store, flow_run_id
        self.job_name = job_name(flow_run_id) if isinstance(runner, SlurmRunner) else None
        self._stack = ExitStack()
        self._end = threading.Event()
        self._cluster: Cluster | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        if runner is not None and store is not None and not isinstance(runner, LocalRunner):
            self._thread = threading.Thread(target=self._ask, args=(runner, store), daemon=True)
            self._thread.start()

    def _ask(self, runner: DaskRunner | SlurmRunner, store: Path) -> None:
        try:
            cluster = open_cluster(runner, Store(store), self._flow_run_id, self._end)
            self._cluster = self._stack.enter_context(cluster)
        except BaseException as error:
            self._error = error

    @contextmanager
    def pool(self, runner: RunnerConfig, store: Store) -> Iterator[Pool]:
        """The pool that a plan's batches run in.

        Raises:
            ConfigError: where the runner cannot be used.
        """
        if isinstance(runner, LocalRunner):
            if runner.concurrency_limit is not None:
                from flows.runners.checks import preflight, refuse

                refuse(preflight(runner, store))
            with Threads(runner) as threads:
                yield threads
            return
        self._wait()
        if (runner, store.root) != (self._runner, self._store):
            self.close()
            self._error = None
            self._ask(runner, store.root)
        if self._error is not None:
            raise self._error
        assert self._cluster is not None
        try:
            yield self._cluster
        finally:
            self.close()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """End those that are there, or on their way."""
        self._end.set()
        self._wait()
        self._end.clear()
        self._stack.close()
        self._cluster = None


@contextmanager
def asked(
    command: str, overrides: Sequence[str], config_dir: str | None, flow_run_id: str
) -> Iterator[Asked]:
    """Ask for the workers that a command line of a flow wants, and end them where nothing has used them.

    Args:
        command: `llc` or `sweep`.
        overrides, config_dir: As the flow takes them.
        flow_run_id: Names their jobs.
    """
    from sweepflow.compose.place import place

    runner, store = place(command, overrides, config_dir)
    workers = Asked(runner, store, flow_run_id)
    try:
        yield workers
    finally:
        workers.close()


@contextmanager
def open_cluster(
    runner: DaskRunner | SlurmRunner, store: Store, flow_run_id: str, end: threading.Event
) -> Iterator[Cluster]:
    """A scheduler here, and jobs with workers.

    Args:
        runner, store, flow_run_id: As `Asked` has them.
        end: Set where nobody wants them any longer, while SLURM's controller is waited for.

    Raises:
        ConfigError: for what is sure not to work: a partition that there is not, no Prefect server.
    """
    from flows.runners.checks import preflight, refuse
    from flows.runners.probe import expectations

    settled = 0.0
    if isinstance(runner, SlurmRunner) and wait_for_controller(runner.submit_seconds, end):
        settled = time.monotonic() + SETTLE_SECONDS
    checks = preflight(runner, store)
    while any(c.must and not c.ok for c in checks) and time.monotonic() < settled and not end.wait(1):
        checks = preflight(runner, store)
    refuse(checks)
    file = store.paths.run_key(flow_run_id).absolute()
    environment = {**expectations(store), TLS: str(file)}
    with (
        encrypted(file) as security,
        _cluster(runner, store, job_name(flow_run_id), environment, security) as cluster,
    ):
        yield cluster


def _cluster(
    runner: DaskRunner | SlurmRunner,
    store: Store,
    name: str,
    environment: dict[str, str],
    security: Security,
) -> Cluster:
    if isinstance(runner, SlurmRunner):
        from flows.runners.checks import logs_directory
        from flows.runners.slurm_jobs import SlurmJobs

        logs = logs_directory(runner, store)
        first = runner.jobs if runner.maximum is None else runner.fewest_jobs
        limits = Limits(
            fewest_jobs=runner.fewest_jobs,
            most_jobs=runner.most_jobs,
            first_jobs=first,
            replacements=runner.replacements * runner.workers_each,
            connect_seconds=runner.connect_seconds,
            hopeless_seconds=runner.hopeless_seconds,
            working_seconds=runner.working_seconds,
        )
        return Cluster(
            SlurmJobs(runner, name, logs, environment),
            limits,
            submit_seconds=runner.submit_seconds,
            interface=runner.interface,
            security=security,
        )
    from flows.runners.processes import Processes

    workers = worker_count(runner)
    limits = Limits(0, workers, workers, runner.replacements, runner.connect_seconds)
    if found := gpus():
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(found)
    jobs = Processes(workers, environment, store.paths.logs, name, runner.connect_seconds)
    return Cluster(jobs, limits, host="127.0.0.1", security=security)


def wait_for_controller(seconds: float, end: threading.Event) -> bool:
    """Wait until SLURM's controller answers, and say so where that takes time.

    Args:
        seconds: Longest wait; what is wrong after it, the checks say.
        end: Set where nobody waits any longer.

    Returns:
        Whether it was away, and has come back.
    """
    deadline = time.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    while not slurm.answers():
        if time.monotonic() > deadline or end.is_set():
            return False
        if pause == FIRST_PAUSE_SECONDS:
            print("waiting: SLURM's controller does not answer", file=sys.stderr, flush=True)
        end.wait(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    return pause != FIRST_PAUSE_SECONDS
