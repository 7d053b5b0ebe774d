"""A scheduler in this process, and jobs with workers that connect to it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Security

from sweepflow.engine.devices import gpus, worker_count
from sweepflow.flows.runners import slurm
from sweepflow.flows.runners.cluster import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    SETTLE_SECONDS,
    Cluster,
)
from sweepflow.flows.runners.encryption import TLS, encrypted
from sweepflow.flows.runners.job_script import job_name
from sweepflow.flows.runners.supervision import Limits
from sweepflow.schema.runner import DaskRunner, SlurmRunner
from sweepflow.storage.store import Store


@contextmanager
def open_cluster(
    runner: DaskRunner | SlurmRunner, store: Store, flow_run_id: str, end: threading.Event
) -> Iterator[Cluster]:
    """Open a scheduler in this process, and jobs with workers.

    Args:
        runner, store, flow_run_id: As `Asked` has them.
        end: Event that is set if the workers are no longer wanted; it ends the wait for SLURM's controller.

    Raises:
        ConfigError: if the runner is certain not to work: a partition that does not exist, no Prefect server.
    """
    from sweepflow.flows.runners.checks import preflight, refuse
    from sweepflow.flows.runners.probe import expectations

    if "PREFECT_LOGGING_LEVEL" not in os.environ:  # comings and goings of workers are ours to tell
        logging.getLogger("distributed").setLevel(logging.WARNING)
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
        from sweepflow.flows.runners.checks import logs_directory
        from sweepflow.flows.runners.slurm_jobs import SlurmJobs

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
    from sweepflow.flows.runners.processes import Processes

    workers = worker_count(runner)
    limits = Limits(0, workers, workers, runner.replacements, runner.connect_seconds)
    if found := gpus():
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(found)
    jobs = Processes(workers, environment, store.paths.logs, name, runner.connect_seconds)
    return Cluster(jobs, limits, host="127.0.0.1", security=security)


def wait_for_controller(seconds: float, end: threading.Event) -> bool:
    """Wait until SLURM's controller answers, and print a line if that takes time.

    Args:
        seconds: Longest wait; the checks report an error that remains after it.
        end: Event that is set if nobody waits any longer.

    Returns:
        Whether the controller did not answer at first, and answers now.
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
