"""Workers that a flow requests while it makes its plan."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweepflow.flows.runners.job_script import job_name
from sweepflow.flows.runners.pool import Pool, Threads
from sweepflow.flows.runs.claim import alone
from sweepflow.schema.runner import DaskRunner, LocalRunner, RunnerConfig, SlurmRunner
from sweepflow.storage.store import Store

if TYPE_CHECKING:
    from sweepflow.flows.runners.cluster import Cluster


class Asked:
    """Workers that were requested and may not have started yet.

    Attributes:
        job_name: Name of their SLURM jobs; None if there are none.

    Args:
        runner: Runner whose workers are requested at once; None if it is not known yet.
        store: Directory in which the workers keep results.
        flow_run_id: Id of the flow run, from which the names of the jobs are made.
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
        # Late: batches in this process need no Dask, which takes most of a second to import.
        from sweepflow.flows.runners.open_cluster import open_cluster

        try:
            cluster = open_cluster(runner, Store(store), self._flow_run_id, self._end)
            self._cluster = self._stack.enter_context(cluster)
        except BaseException as error:
            self._error = error

    @contextmanager
    def pool(self, runner: RunnerConfig, store: Store) -> Iterator[Pool]:
        """Yield the pool in which the batches of a plan run.

        Raises:
            ConfigError: if the runner cannot be used.
        """
        if isinstance(runner, LocalRunner):
            if runner.concurrency_limit is not None:
                from sweepflow.flows.runners.checks import preflight, refuse

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
        """End the workers that have started or are starting."""
        self._end.set()
        self._wait()
        self._end.clear()
        self._stack.close()
        self._cluster = None


@contextmanager
def asked(place: tuple[RunnerConfig | None, Path | None], flow_run_id: str) -> Iterator[Asked]:
    """Request the workers that a flow needs, and end them if nothing has used them.

    If another process executes the flow run, this process leaves the run to it.

    Args:
        place: The runner, and the directory of the store; None for both if they are not known yet.
        flow_run_id: Id of the flow run, from which the names of the jobs are made.
    """
    runner, store = place
    with ExitStack() as stack:
        if store is not None and not isinstance(runner, LocalRunner):
            # Before jobs of the same name are asked for.
            stack.enter_context(alone(Store(store), flow_run_id))
        workers = Asked(runner, store, flow_run_id)
        stack.callback(workers.close)
        yield workers
