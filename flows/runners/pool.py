"""Pools in which a sweep's batches run: threads of this process, or workers that may connect and leave."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Protocol

from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from sweepflow.engine.devices import cores
from sweepflow.schema.runner import LocalRunner
from sweepflow.stop import EndedEarlyError, Work

STOP_SECONDS = 15.0
"""Longest wait for batches that are asked to stop: external programs end, others write a checkpoint."""

Event = PrefectFuture[Any] | Exception | None
"""Future of a batch that has ended; the error if the sweep cannot go on; None if the workers have changed."""


@dataclass(frozen=True)
class Loss:
    """Cause of the loss of a batch's worker.

    Attributes:
        why: Description of the cause.
        innocent: Whether the loss is no evidence against the batch: a job was cancelled, or a node failed.
        late: Whether the time of the worker was over; the reason may be that the batch takes longer.
        begun: Whether the worker had begun the batch.
    """

    why: str
    innocent: bool
    late: bool = False
    begun: bool = True


class Pool(Protocol):
    """Interface of a pool that runs task runs.

    Attributes:
        events: Events of the pool, in order.
    """

    events: SimpleQueue[Event]

    def __enter__(self) -> Pool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def free(self) -> int:
        """Return the number of batches that could be taken now."""

    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any] | None:
        """Start a batch; its future comes as an event when it has ended. Return None if none is free now."""

    def loss(self, future: PrefectFuture[Any]) -> Loss | None:
        """Return how the worker of an ended batch was lost, or None if it was not lost. Call this once."""

    def retire(self, worker: str) -> None:
        """Replace a worker that has said that it has to leave."""

    def outstanding(self, batches: int) -> None:
        """Set the number of batches that are not done, for which workers are wanted."""

    @property
    def lost(self) -> int:
        """Number of workers that were lost."""

    @property
    def waiting(self) -> str:
        """Description of what the pool waits for; empty if it waits for nothing."""


class Threads:
    """A pool of threads of this process.

    At the end it waits for the threads. If the sweep is interrupted, it asks batches to stop, takes back
    queued batches, and does not wait for work that cannot be stopped.
    """

    lost = 0
    waiting = ""

    def __init__(self, runner: LocalRunner) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._most = min(8, max(2, cores() // 2)) if runner.workers == "auto" else runner.workers
        self._runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=self._most)
        self._running: set[PrefectConcurrentFuture[Any]] = set()
        self._stack = ExitStack()
        self._work = Work()

    def __enter__(self) -> Threads:
        self._stack.enter_context(self._runner)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, Exception) and not isinstance(error, EndedEarlyError)):
            self._stack.close()
            return
        for future in list(self._running):  # Ctrl-C, Prefect's TerminationSignal, or too many failures
            future.wrapped_future.cancel()
        if self._work.stop(STOP_SECONDS):
            self._stack.close()

    def free(self) -> int:
        return self._most - len(self._running)

    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any]:
        with self._work.begun_here():  # its thread has a copy of this context
            future = self._runner.submit(task, parameters=parameters)
        self._running.add(future)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: PrefectFuture[Any]) -> None:
        self._running.discard(future)
        self.events.put(future)

    def loss(self, future: PrefectFuture[Any]) -> Loss | None:
        return None

    def retire(self, worker: str) -> None: ...

    def outstanding(self, batches: int) -> None: ...
