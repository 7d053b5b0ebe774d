"""Who is connected, what each worker runs, and what became of those that were lost under a batch."""

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
"""How long to wait for the word of how a job ended, once its worker is gone."""
FETCH_SECONDS = 5.0
"""How long what a batch has returned may take to come; it is a handful of numbers."""
STRANDED_SECONDS = 2.0
"""How long a batch may be without its worker before it is taken back."""
LINGER_SECONDS = 10.0
"""How long a worker may stay connected once its job is gone: of a node that fell silent nobody hears more."""


@dataclass(frozen=True)
class Place:
    """Where a batch runs.

    Attributes:
        address: Of its worker.
        job: Its worker's.
        starts: How often that job had been started.
        joined: How many workers of it had ever connected, and when it was lost, had until then.
        begun: Whether its worker had begun it, once that is lost.
        interrupted: Whether its worker has said that it is being ended.
    """

    address: str
    job: str
    starts: int
    joined: int
    begun: bool = False
    interrupted: bool = False


class Roster:
    """Workers by address, and the batch of each; for several threads.

    Attributes:
        lost: Workers whose connection ended though nobody had told them to leave.
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
        """A job was started."""
        with self._lock:
            self._known[job] = Known()

    def leave(self, job: str) -> None:
        """A job gets no more batches, and ends."""
        with self._lock:
            if job in self._known:
                self._known[job].leaving = True

    # -- batches ------------------------------------------------------------------------------------------

    def idle(self) -> list[str]:
        """Addresses of workers that have nothing to do and may stay, those longest connected first.

        Not those of which a batch has just come back without its end: they are being lost, and are seen to be
        gone in a moment, or to be still there.
        """
        with self._lock:
            busy = {place.address for place in self._running.values()} | self._doubted.keys()
            return [a for a, job in self._workers.items() if a not in busy and not self._known[job].leaving]

    def busy_jobs(self) -> set[str]:
        """Jobs of which a worker has a batch."""
        with self._lock:
            return {place.job for place in self._running.values() if place.address in self._workers}

    def give(self, start: Callable[[str], Future], is_there: Callable[[str], bool]) -> Future | None:
        """Start a batch on an idle worker; None where there is none, as it has just gone.

        Args:
            start: Does that, at an address.
            is_there: Whether a worker is connected at this moment; who is idle was seen a moment ago.
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
        """A worker has begun a batch, given by Dask's key of it."""
        with self._lock:
            self._begun.add(key)

    def ended(self, future: Future) -> bool:
        """A batch has ended; whether by its own end, and not by its worker's.

        What it returned is on its worker until it is fetched, and is fetched here: Dask would run a batch
        again whose worker is lost before that.
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
            why: Says so, or None where it is not known yet; told whether there is time to wait for that.

        Returns:
            Batches of which it is known now.
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
        """How the worker of a batch was lost; asked once."""
        with self._lock:
            return self._losses.pop(future, None)

    # -- workers ------------------------------------------------------------------------------------------

    def see(self, present: Mapping[str, str], now: float) -> bool:
        """Take in who is connected.

        Args:
            present: The job of each worker, by address.
            now: Seconds of the monotonic clock.

        Returns:
            Whether a worker has come or gone.
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
        """Workers that have ever connected."""
        with self._lock:
            return sum(known.joined for known in self._known.values())

    def stranded(self, now: float) -> list[Future]:
        """Batches whose worker has left, and that nobody has given back."""
        with self._lock:
            return [
                future
                for future, place in self._running.items()
                if now - self._left.get(place.address, now) > STRANDED_SECONDS
            ]

    def lingering(self, held: Iterable[str], now: float) -> list[str]:
        """Addresses of workers that are connected though their job is gone."""
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
        """Connected workers of each job."""
        with self._lock:
            return Counter(self._workers.values())
