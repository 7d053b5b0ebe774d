"""A pool of Dask workers in jobs that are kept alive.

The scheduler runs in this process. Workers may connect and leave at any time.
"""

from __future__ import annotations

import contextvars
import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import dask
from distributed import Scheduler, Security, SpecCluster
from prefect import Flow
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.tasks import Task
from prefect_dask.client import PrefectDaskClient
from prefect_dask.task_runners import PrefectDaskFuture

from sweepflow.flows.runners.job_script import job_of
from sweepflow.flows.runners.jobs import REFUSED, Held, Jobs, RunnerError, StartError
from sweepflow.flows.runners.pool import Event, Loss
from sweepflow.flows.runners.roster import Place, Roster
from sweepflow.flows.runners.supervision import Limits, Seen, decide
from sweepflow.tasks.progress import TOPIC, show_points
from sweepflow.tasks.worker import BEGAN, flow_elsewhere

TICK_SECONDS = 0.5
"""Interval between two checks of the jobs and their workers."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
"""First and longest pause between attempts to start a job; the pause is doubled each time."""
SETTLE_SECONDS = 30.0
"""Time for which a controller that answers again does not know its nodes. In this time it refuses jobs that
it accepts later."""
SETTINGS = {
    # A batch whose worker is lost comes back here at once: what is done about it is decided here.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
}


def leave_the_flow_here() -> None:
    """Keep only the name of the flow in the context from which a batch is sent.

    Call it in a context of the caller's own. Without it, Prefect would send the flow, and the task that
    called it, by the names of their modules. A deployment whose entrypoint is a file has a module that no
    worker can import, and every worker would be lost.
    """
    context = FlowRunContext.get()
    if context is not None and context.flow is not None:
        named = _flow_elsewhere(context.flow.name)
        FlowRunContext.__var__.set(context.model_copy(update={"flow": named}))
    TaskRunContext.__var__.set(None)  # type: ignore[arg-type]


@cache
def _flow_elsewhere(name: str) -> Flow[..., Any]:
    return Flow(flow_elsewhere, name=name)


class Cluster:
    """A Dask scheduler in this process, and the jobs that hold its workers.

    A separate thread checks the jobs twice a second. It replaces jobs that ended, within limits. It describes
    in words what the sweep waits for. If waiting cannot help, it tells the sweep. A batch is given to a
    worker that is connected and idle, never to a queue. The end of a worker therefore affects only the batch
    that it ran.

    Args:
        jobs: Object that starts and ends the jobs.
        limits: Limits on numbers and times.
        security: Credentials by which scheduler, workers and client recognise each other.
        submit_seconds: Time for which starting a job is tried again. Also the longest wait for a cluster that
            does not answer, if no worker is left.
        host: Address that the scheduler listens at.
        interface: Network interface of the scheduler, instead of `host`.
    """

    def __init__(
        self,
        jobs: Jobs,
        limits: Limits,
        *,
        security: Security,
        submit_seconds: float = 0.0,
        host: str | None = None,
        interface: str | None = None,
    ) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.waiting = ""
        self._security = security
        self._jobs, self._limits, self._submit_seconds = jobs, limits, submit_seconds
        self._listens = {"host": host} if interface is None else {"interface": interface}
        self._wanted = max(1, limits.first_jobs)
        self._roster = Roster()
        self._lost_jobs = 0
        self._stillborn, self._last_stillborn, self._joined = 0, "", 0
        self._why_stillborn = ""
        self._last_lost, self._why_lost = "", ""
        self._next_start, self._pause = 0.0, FIRST_PAUSE_SECONDS
        self._refused_since: float | None = None
        self._silent_since: float | None = None
        self._last_silent = -math.inf
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._keep, name="sweepflow-workers", daemon=True)

    def __enter__(self) -> Cluster:
        # Its pages are off, yet it listens for them: nobody else's business, and at a port of its own.
        options: dict[str, Any] = {
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",
            "port": 0,
            **self._listens,
        }
        options |= {"security": self._security, "protocol": "tls"}
        with dask.config.set(SETTINGS):
            self._cluster = SpecCluster(
                scheduler={"cls": Scheduler, "options": options},
                security=self._security,
                silence_logs=logging.CRITICAL,
            )
            self._client = PrefectDaskClient(self._cluster, set_as_default=False)
            self._client.subscribe_topic(TOPIC, lambda event: self._told(show_points, *event[1]))
            self._client.subscribe_topic(BEGAN, lambda event: self._told(self._roster.began, event[1]))
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        try:
            try:
                self._watch.join()
            finally:  # also where Ctrl-C comes twice
                self._jobs.close()
        finally:
            self._client.close()
            self._cluster.close()

    @property
    def lost(self) -> int:
        return self._roster.lost + self._lost_jobs

    # -- batches ------------------------------------------------------------------------------------------

    def free(self) -> int:
        return len(self._roster.idle())

    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any] | None:
        def start(address: str) -> PrefectFuture[Any]:
            leave_the_flow_here()
            wrapped = self._client.submit(
                task, parameters=parameters, workers=[address], pure=False, return_type="state"
            )
            return PrefectDaskFuture(wrapped_future=wrapped, task_run_id=wrapped.task_run_id)

        # In a thread, as it serialises Prefect's settings, and pydantic makes an ordinary error of Ctrl-C.
        with ThreadPoolExecutor(1, thread_name_prefix="sweepflow-submit") as thread:
            run = contextvars.copy_context().run
            future = thread.submit(run, self._roster.give, start, self._is_there).result()
        if future is not None:
            future.add_done_callback(lambda future: self._told(self._ended, future))
        return future

    def _is_there(self, address: str) -> bool:
        scheduler: Any = self._cluster.scheduler
        return address in scheduler.workers

    def _told(self, hear: Callable[..., None], *what: Any) -> None:
        """Handle a message from Dask.

        An error in the handler ends the sweep, which would otherwise wait for a message that was not handled.
        Dask would only log the error, and nobody would see it.
        """
        try:
            hear(*what)
        except Exception as error:
            self.events.put(error)

    def _ended(self, future: PrefectFuture[Any]) -> None:
        if self._roster.ended(future):
            self.events.put(future)  # else once it is known why

    def loss(self, future: PrefectFuture[Any]) -> Loss | None:
        return self._roster.loss(future)

    def _why(self, place: Place, may_wait: bool) -> Loss | None:
        """Return how the worker of a batch was lost; None if that may be known later."""
        loss = self._how_lost(place, may_wait)
        if loss is not None:
            self._last_lost, self._why_lost = place.job, loss.why
        return loss

    def _how_lost(self, place: Place, may_wait: bool) -> Loss | None:
        known = self._roster.known[place.job]
        if not place.begun:
            return Loss(f"job {place.job} had gone before it began", innocent=True, begun=False)
        if known.leaving:
            return Loss(f"job {place.job} left before its walltime", innocent=True, late=True)
        if known.starts > place.starts:
            return Loss(f"job {place.job} was requeued", innocent=True)
        ended = self._jobs.ended(place.job)
        if ended is not None:
            return Loss(f"job {place.job}: {ended.why}", ended.innocent or place.interrupted, ended.late)
        if may_wait and known.joined == place.joined:
            return None
        if place.interrupted:
            return Loss(f"a worker process of job {place.job} was asked to end", innocent=True)
        return Loss(f"a worker process of job {place.job} was killed", innocent=False)

    def retire(self, worker: str) -> None:
        self._roster.leave(job_of(worker) or "")

    def outstanding(self, batches: int) -> None:
        self._wanted = math.ceil(batches / self._jobs.workers_each)

    # -- workers ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        while True:
            try:
                self._look()
            except Exception as error:  # the sweep would wait for ever for a thread that is gone
                self.events.put(error)
                return
            if self._stop.wait(TICK_SECONDS):
                return

    def _look(self) -> None:
        now = time.monotonic()
        self._look_at_workers(now)
        held = self._jobs.held()
        if held is None:
            self._silent(now)
        else:
            self._silent_since = None
            self._look_at_jobs([job for job in held if job.id in self._roster.known], now)
        for future in self._roster.explain(self._why):
            self.events.put(future)

    def _look_at_workers(self, now: float) -> None:
        scheduler: Any = self._cluster.scheduler
        # It sorts while one looks, and the scheduler's own thread changes it: a plain copy first.
        workers = list(dict.values(scheduler.workers))
        present = {worker.address: job_of(str(worker.name)) for worker in workers}
        if self._roster.see({address: job for address, job in present.items() if job is not None}, now):
            self.events.put(None)
        if (joined := self._roster.joined()) > self._joined:
            self._joined, self._stillborn = joined, 0
        for future in self._roster.stranded(now):
            future.wrapped_future.cancel()  # type: ignore[attr-defined]

    def _look_at_jobs(self, held: list[Held], now: float) -> None:
        known = self._roster.known
        ids = {job.id for job in held}
        for job in held:
            known[job.id].see(job, now, self._limits)
        for job_id in [job_id for job_id in known if job_id not in ids and not known[job_id].ended]:
            self._job_ended(job_id)
        scheduler: Any = self._cluster.scheduler
        alive = {job.id for job in held if job.state == "running"}
        for address in self._roster.lingering(alive, now):
            scheduler.loop.add_callback(scheduler.remove_worker, address, stimulus_id=f"sweepflow-{now}")
        workers, busy = self._roster.count(), self._roster.busy_jobs()
        for job in held:
            idle = workers[job.id] and job.id not in busy
            known[job.id].idle_since = (known[job.id].idle_since or now) if idle else None
            if known[job.id].leaving and job.id not in busy:
                self._jobs.cancel([job.id])
        actions = decide(
            Seen(now, held, known, workers, self._wanted, self.lost, self._stillborn), self._limits
        )
        if actions.failure is not None:
            raise self._error(*actions.failure)
        self.waiting = actions.waiting
        for job_id in actions.cancel:
            self._roster.leave(job_id)
            self._jobs.cancel([job_id])
        for _ in range(actions.start):
            if self._stop.is_set() or now < self._next_start or not self._start(now, others=bool(held)):
                break

    def _silent(self, now: float) -> None:
        """Handle a cluster that does not list its jobs; workers that are connected do not need the list."""
        self.waiting = "the cluster's controller does not answer"
        self._last_silent = now
        workers = sum(self._roster.count().values())
        self._silent_since = now if workers or self._silent_since is None else self._silent_since
        if now - self._silent_since > self._submit_seconds:
            raise self._error(f"{self.waiting} for {now - self._silent_since:.0f} s, and no worker is left")

    def _job_ended(self, job_id: str) -> None:
        known = self._roster.known[job_id]
        known.ended = True
        if known.leaving or known.reported:
            return
        self._lost_jobs += 1
        ended = self._jobs.ended(job_id)
        if ended is not None and ended.code == REFUSED:
            raise RunnerError(
                "a worker refused to work",
                got=self._jobs.last_words(job_id),
                do="mend what it says; `sweepflow doctor` with the same runner shows more",
            )
        if ended is None or not ended.innocent:
            self._stillborn, self._last_stillborn = self._stillborn + 1, job_id
            self._why_stillborn = f"job {job_id}: {ended.why}" if ended is not None else f"job {job_id}"

    def _start(self, now: float, others: bool) -> bool:
        """Start a job; return whether it was started. A refusal is ignored while there are other jobs."""
        try:
            job_id = self._jobs.start(self._cluster.scheduler_address)
        except StartError as error:
            self._refused_since = self._refused_since or now
            late = now - self._refused_since > self._submit_seconds
            passes = error.passes or now - self._last_silent < SETTLE_SECONDS
            if not others and (late or not passes):
                raise
            self.waiting = f"to start a job: {error.got}"
            self._next_start, self._pause = now + self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            return False
        self._refused_since, self._pause = None, FIRST_PAUSE_SECONDS
        self._roster.add_job(job_id)
        return True

    def _error(self, what: str, job_id: str = "") -> RunnerError:
        """Return an error that includes the last output of the job that shows the cause best."""
        if job_id:
            why = self.waiting
            if self._roster.known[job_id].running_since is None:
                job_id = ""  # it has written nothing yet
        elif self._stillborn:
            job_id, why = self._last_stillborn, self._why_stillborn
        else:
            job_id, why = self._last_lost, self._why_lost
        words = self._jobs.last_words(job_id) if job_id else ""
        return RunnerError(
            what,
            got="; ".join(filter(None, [why or self.waiting, words])) or f"{self.lost} workers lost",
            do=f"mend the cause, and start the sweep again. What was started:\n{self._jobs.about()}",
        )
