"""Connected workers, the batch that each worker runs, and the losses of workers that ran a batch."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from distributed import KilledWorker
from prefect.futures import PrefectFuture

from sweepflow.flows.runners.pool import Loss
from sweepflow.flows.runners.supervision import Known
from sweepflow.tasks.worker import INTERRUPTED

Future = PrefectFuture[Any]
LOSS_SECONDS = 6.0
"""Longest wait for the report of how a job ended, once its worker is gone."""
FETCH_SECONDS = 5.0
"""Time that the return value of a batch may take to arrive; it is a handful of numbers."""
STRANDED_SECONDS = 2.0
"""Time that a batch may be without its worker before it is taken back."""
LINGER_SECONDS = 10.0
"""Time that a worker may stay connected once its job is gone: a node that fell silent sends nothing more."""


@dataclass(frozen=True)
class Place:
    """The worker and the job in which a batch runs.

    Attributes:
        address: Address of the batch's worker.
        job: Job of that worker.
        starts: Number of times that the job had been started.
        joined: Number of workers of the job that had ever connected; once the worker is lost, the number
            until then.
        begun: Whether the worker had begun the batch; known once the worker is lost.
        interrupted: Whether the worker has said that it is being ended.
    """

    address: str
    job: str
    starts: int
    joined: int
    begun: bool = False
    interrupted: bool = False


class Roster:
    """Workers by address, and the batch of each worker. Several threads may use it.

    Attributes:
        lost: Number of workers whose connection ended although nobody had told them to leave.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._lock = threading.RLock()
        self._known: dict[str, Known] = {}
        self._workers: dict[str, str] = {}
        self._left: dict[str, float] = {}
        self._running: dict[Future, Place] = {}
        self._lost: dict[Future, tuple[Place, float]] = {}
        self._losses: dict[Future, Loss] = {}
        self._begun: set[Any] = set()
        self._doubted: dict[str, int] = {}

    @property
    def known(self) -> Mapping[str, Known]:
        """Every job that was ever started, by id."""
        return self._known

    def add_job(self, job: str) -> None:
        """Add a job that was started."""
        with self._lock:
            self._known[job] = Known()

    def leave(self, job: str) -> None:
        """Mark a job that gets no more batches, and ends."""
        with self._lock:
            if job in self._known:
                self._known[job].leaving = True

    # -- batches ------------------------------------------------------------------------------------------

    def idle(self) -> list[str]:
        """Return the addresses of workers that have nothing to do and may stay, longest connected first.

        A worker is left out if its batch has just come back before the batch ended. Such a worker is being
        lost; a moment later it is seen whether the worker is gone or still there.
        """
        with self._lock:
            busy = {place.address for place in self._running.values()} | self._doubted.keys()
            return [a for a, job in self._workers.items() if a not in busy and not self._known[job].leaving]

    def busy_jobs(self) -> set[str]:
        """Return the jobs in which a connected worker has a batch."""
        with self._lock:
            return {place.job for place in self._running.values() if place.address in self._workers}

    def give(self, start: Callable[[str], Future], is_there: Callable[[str], bool]) -> Future | None:
        """Start a batch on an idle worker; return None if there is no such worker, as it has just left.

        Args:
            start: Function that starts the batch at an address.
            is_there: Function that returns whether a worker is connected at this moment; the idle workers
                were seen a moment ago.
        """
        with self._lock:
            address = next(filter(is_there, self.idle()), None)
            if address is None:
                return None
            job = self._workers[address]
            known = self._known[job]
            future = start(address)
            self._running[future] = Place(address, job, known.starts, known.joined)
            return future

    def began(self, key: Any) -> None:
        """Record that a worker has begun a batch, given by Dask's key of the batch."""
        with self._lock:
            self._begun.add(key)

    def ended(self, future: Future) -> bool:
        """Record the end of a batch; return whether the batch ended by itself, and not with its worker.

        The return value of a batch is on its worker until it is fetched, and this method fetches it. If the
        worker were lost before that, Dask would run the batch again.
        """
        future.wait(FETCH_SECONDS)
        wrapped, state = future.wrapped_future, future._final_state  # type: ignore[attr-defined]
        lost = interrupted = state is not None and state.name == INTERRUPTED
        if state is None:
            lost = wrapped.status != "error" or isinstance(wrapped.exception(), KilledWorker)
        if lost or state is not None:
            wrapped.release()
        with self._lock:
            place = self._running.pop(future)
            begun = wrapped.key in self._begun
            self._begun.discard(wrapped.key)
            if lost:
                self._doubted[place.address] = 0
                joined = self._known[place.job].joined
                place = replace(place, joined=joined, begun=begun, interrupted=interrupted)
                self._lost[future] = place, time.monotonic() + LOSS_SECONDS
        return not lost

    def explain(self, why: Callable[[Place, bool], Loss | None]) -> list[Future]:
        """Find out how workers of batches were lost.

        Args:
            why: Function that returns the cause of a loss, or None if it is not known yet. Its second
                argument tells whether there is time to wait for the cause.

        Returns:
            Batches for which the cause is known now.
        """
        with self._lock:
            lost = list(self._lost.items())
        found = {}
        for future, (place, deadline) in lost:
            loss = why(place, time.monotonic() < deadline)
            if loss is not None:
                found[future] = loss
        with self._lock:
            for future, loss in found.items():
                del self._lost[future]
                self._losses[future] = loss
        return list(found)

    def loss(self, future: Future) -> Loss | None:
        """Return how the worker of a batch was lost. Call this once."""
        with self._lock:
            return self._losses.pop(future, None)

    # -- workers ------------------------------------------------------------------------------------------

    def see(self, present: Mapping[str, str], now: float) -> bool:
        """Update the connected workers.

        Args:
            present: The job of each connected worker, by address.
            now: Seconds of the monotonic clock.

        Returns:
            Whether a worker has connected or left.
        """
        with self._lock:
            joined = {a: job for a, job in present.items() if a not in self._workers and job in self._known}
            gone = [address for address in self._workers if address not in present]
            for address in gone:
                job = self._workers.pop(address)
                self._left[address] = now
                self.lost += not self._known[job].leaving
            for address, job in joined.items():
                self._workers[address] = job
                self._left.pop(address, None)  # a port that another has had before
                self._known[job].reported = True
                self._known[job].joined += 1
            # What is taken in here may have been seen before it was doubted: two looks make sure.
            self._doubted = {a: looks + 1 for a, looks in self._doubted.items() if a in present and not looks}
            return bool(joined or gone)

    def joined(self) -> int:
        """Return the number of workers that have ever connected."""
        with self._lock:
            return sum(known.joined for known in self._known.values())

    def stranded(self, now: float) -> list[Future]:
        """Return the batches whose worker has left, and that nobody has given back."""
        with self._lock:
            return [
                future
                for future, place in self._running.items()
                if now - self._left.get(place.address, now) > STRANDED_SECONDS
            ]

    def lingering(self, held: Iterable[str], now: float) -> list[str]:
        """Return the addresses of workers that are connected although their job is gone."""
        with self._lock:
            for job in self._workers.values():
                known = self._known[job]
                known.gone_since = None if job in held else (known.gone_since or now)
            return [
                address
                for address, job in self._workers.items()
                if now - (self._known[job].gone_since or now) > LINGER_SECONDS
            ]

    def count(self) -> Counter[str]:
        """Return the number of connected workers of each job."""
        with self._lock:
            return Counter(self._workers.values())
