"""Who is connected, what each runs, and which batches nobody runs any longer."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from uuid import uuid4

import pytest
from distributed import KilledWorker
from prefect.client.schemas.objects import State
from prefect.futures import PrefectConcurrentFuture
from prefect.states import Crashed

from sweepflow.flows.runners.jobs import Held
from sweepflow.flows.runners.roster import LINGER_SECONDS, STRANDED_SECONDS, Roster
from sweepflow.flows.runners.supervision import Limits
from sweepflow.tasks.worker import INTERRUPTED

NOW = 100.0
HERE, THERE = "tcp://10.0.0.1:4000", "tcp://10.0.0.2:4000"
LIMITS = Limits(0, 2, 2, 5, 120.0)


def roster(**workers: str) -> Roster:
    """Two jobs, 1 and 2, with workers of theirs that are connected: the job of each by HERE and THERE."""
    found = Roster()
    for job in ("1", "2"):
        found.add_job(job)
    found.see({{"here": HERE, "there": THERE}[name]: job for name, job in workers.items()}, NOW)
    return found


def give(workers: Roster) -> tuple[str, PrefectConcurrentFuture[None]]:
    """Give a batch to a worker; its address, and the batch."""
    at: list[str] = []

    def start(address: str) -> PrefectConcurrentFuture[None]:
        at.append(address)
        return PrefectConcurrentFuture(uuid4(), Future())

    future = workers.give(start, lambda address: True)
    assert isinstance(future, PrefectConcurrentFuture)
    return at[0], future


def test_a_worker_has_one_batch_at_a_time() -> None:
    workers = roster(here="1", there="2")
    assert workers.idle() == [HERE, THERE]
    assert give(workers)[0] == HERE and give(workers)[0] == THERE
    assert workers.idle() == [] and workers.busy_jobs() == {"1", "2"}
    assert workers.give(lambda address: PrefectConcurrentFuture(uuid4(), Future()), lambda a: True) is None


class Lost:
    """A batch whose worker Dask has lost."""

    _final_state: State[Any] | None = None

    def __init__(self, key: str) -> None:
        self.wrapped_future = self
        self.key, self.status = key, "error"

    def wait(self, timeout: float) -> None: ...

    def exception(self) -> BaseException:
        return KilledWorker(self.key, None, 0)

    def release(self) -> None: ...


@pytest.mark.parametrize("begun", [True, False])
def test_a_worker_that_is_being_lost_gets_no_other_batch(begun: bool) -> None:
    workers = roster(here="1")
    future: Any = Lost("batch")
    assert workers.give(lambda address: future, lambda address: True) is future
    if begun:
        workers.began("batch")
    assert not workers.ended(future)
    assert workers.idle() == [], "it is connected, as was seen before its batch was lost"
    assert not workers.see({HERE: "1"}, NOW + 0.1) and workers.idle() == [], (
        "that may have been seen before, too"
    )
    workers.see({HERE: "1"}, NOW + 0.6)
    assert workers.idle() == [HERE], "it is still there"
    places = []
    workers.explain(lambda place, _: places.append(place))
    assert [place.begun for place in places] == [begun]


def test_a_batch_that_was_interrupted_has_lost_its_worker() -> None:
    workers = roster(here="1")
    future: Any = Lost("batch")
    future._final_state = Crashed(name=INTERRUPTED)
    assert workers.give(lambda address: future, lambda address: True) is future
    assert not workers.ended(future) and workers.idle() == []
    places = []
    workers.explain(lambda place, _: places.append(place))
    assert [place.interrupted for place in places] == [True]


def test_a_worker_that_is_not_connected_at_this_moment_gets_none() -> None:
    workers = roster(here="1", there="2")
    future: Any = Lost("batch")
    at: list[str] = []
    assert workers.give(lambda address: at.append(address) or future, lambda a: a == THERE) is future
    assert at == [THERE]
    assert workers.give(lambda address: future, lambda a: a == THERE) is None


def test_a_job_that_leaves_gets_none_and_is_not_lost() -> None:
    workers = roster(here="1", there="2")
    workers.leave("1")
    assert workers.idle() == [THERE]
    assert workers.see({THERE: "2"}, NOW + 1) and workers.lost == 0
    assert workers.see({}, NOW + 2) and workers.lost == 1
    assert not workers.see({}, NOW + 3)


def test_a_worker_of_another_sweep_is_nobody() -> None:
    workers = roster(here="1")
    assert not workers.see({HERE: "1", THERE: "17"}, NOW + 1)
    assert workers.idle() == [HERE]


def test_a_batch_whose_worker_has_left_is_taken_back() -> None:
    workers = roster(here="1", there="2")
    (_, lost), (_, kept) = give(workers), give(workers)
    workers.see({THERE: "2"}, NOW + 1)
    assert workers.stranded(NOW + 1) == []
    assert workers.stranded(NOW + 1.1 + STRANDED_SECONDS) == [lost]
    assert kept not in workers.stranded(NOW + 1000)


def test_a_port_that_another_worker_had_before_is_no_sign_of_its_end() -> None:
    workers = roster(here="1")
    workers.see({}, NOW + 1)
    workers.see({HERE: "2"}, NOW + 2)
    give(workers)
    assert workers.stranded(NOW + 1000) == []
    assert workers.busy_jobs() == {"2"} and workers.joined() == 2


def test_a_worker_whose_job_is_gone_is_dropped_after_a_while() -> None:
    workers = roster(here="1", there="2")
    assert workers.lingering(["1", "2"], NOW) == []
    assert workers.lingering(["2"], NOW + 1) == [], "its connection may end in a moment"
    assert workers.lingering(["2"], NOW + 1.1 + LINGER_SECONDS) == [HERE]
    assert workers.lingering(["1", "2"], NOW + 1.2 + LINGER_SECONDS) == [], "it was a slip of the queue's"


def test_a_job_that_starts_again_is_seen_in_the_places_of_its_batches() -> None:
    workers = roster(here="1")
    known = workers.known["1"]
    for state in ("running", "ending", "pending", "running"):
        known.see(Held("1", state), NOW, LIMITS)  # type: ignore[arg-type]
    assert known.starts == 1 and not known.reported
    workers.see({}, NOW + 1)
    workers.see({THERE: "1"}, NOW + 2)
    assert workers.known["1"].reported and give(workers)[0] == THERE
