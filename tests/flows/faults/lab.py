"""A sweep that is disturbed while it runs: what its workers do, what became of its batches, what is left."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sweepflow import sweep
from sweepflow.storage.store import Store
from tests.slurm.cluster import Cluster
from tests.slurm.processes import PATIENCE, wait_for

WALKS = Path(__file__).with_name("walks.py")
ON_SLURM = ("runner=slurm", "runner.interface=lo", "runner.memory=256MB")
TWO_JOBS = (*ON_SLURM, "runner.jobs=2")


@dataclass(frozen=True)
class Begun:
    """A batch that a worker has begun: a line of the log of `walks.py`."""

    pid: int
    job: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Bits:
    """All of a record that has to be the same whatever happened."""

    status: str
    reasons: tuple[str, ...]
    figures: str
    arrays: tuple[tuple[str, bytes], ...]


def bits(store: Store) -> dict[str, Bits]:
    """Every record of a store, by id."""
    found = {}
    for prefix in ("tgt", "est", "trl"):
        for record in store.records(prefix):
            arrays = sorted((name, array.tobytes()) for name, array in store.arrays(record.id).items())
            figures = json.dumps(dict(record.figures), sort_keys=True)
            found[record.id] = Bits(record.status, record.reasons, figures, tuple(arrays))
    return found


@dataclass
class Lab:
    """A store, the questions to Prefect and to SLURM about a sweep in it, and what became of its batches."""

    store: Store
    prefect: Any
    slurm: Cluster | None = None

    def here(self, *overrides: str) -> list[str]:
        """Overrides of a sweep in the store, whose path has a quote in it."""
        return [*overrides, f"store='{self.store.root}'".replace("researcher's", r"researcher\'s")]

    def walks(self, drifts: Sequence[float], *overrides: str, batch_size: int = 1) -> list[str]:
        """Overrides of a sweep of walks."""
        each = ",".join(str(drift) for drift in drifts)
        return self.here(
            f"workload='{WALKS}'", f"drift={each}", f"runner.batch_size={batch_size}", *overrides
        )

    def sweep(self, overrides: list[str], meanwhile: Callable[[], None] | None = None, **options: Any) -> Any:
        """Run a sweep in this thread, and something else in another."""
        with together(meanwhile or (lambda: None)):
            return sweep(overrides=overrides, **options)

    # -- while it runs ------------------------------------------------------------------------------------

    def begun(self) -> list[Begun]:
        """Batches that were begun, in order."""
        log = self.store.root / "walks.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [Begun(b["pid"], b["job"], tuple(b["ids"])) for b in map(json.loads, lines)]

    def in_flight(self) -> list[Begun]:
        """The batches that are run now."""
        last = {begun.pid: begun for begun in self.begun()}
        return [
            begun
            for begun in last.values()
            if psutil.pid_exists(begun.pid) and not self.store.known(begun.ids).keys() >= set(begun.ids)
        ]

    def written(self) -> list[Path]:
        """The files of the records that there are."""
        return list(self.store.root.glob("trials/??/*.json"))

    def mid_batch(self, workers: int = 1, done: int = 1) -> list[Begun]:
        """Wait until so many workers are in the middle of a batch, and so many trials are done.

        Returns:
            What they run.
        """
        wait_for(lambda: len(self.written()) >= done, f"{done} trials are done")
        return wait_for(self.in_flight, f"{workers} batches run", until=lambda found: len(found) >= workers)

    # -- afterwards ---------------------------------------------------------------------------------------

    def lost(self) -> tuple[list[str], list[str]]:
        """Why batches of the newest sweep lost their workers; Prefect says of none that it runs.

        Returns:
            Of batches that had to be run again; and of those that were lost after their last record: SLURM
            asks processes to end, and a worker may come to the end of its batch before it is killed.
        """
        seen = self.prefect.see()
        assert seen.run.state.is_final()
        for task in seen.tasks:
            assert task.state is not None and task.state.is_final(), f"{task.name} is {task.state}"
        states = [(task.state, str(task.state.message)) for task in seen.tasks]
        late = ", after its last record"
        return (
            [message for state, message in states if state.is_crashed()],  # `Interrupted` is one, too
            [message for state, message in states if state.is_completed() and message.endswith(late)],
        )

    def nothing_is_left(self) -> None:
        """No job, no process of one, and no thread of the sweep's."""
        if self.slurm is not None:
            wait_for(self.slurm.squeue, "no job is left", until=lambda jobs: not jobs)
        pids = {begun.pid for begun in self.begun()}
        wait_for(lambda: [p for p in pids if psutil.pid_exists(p)], "no worker", until=lambda p: not p)
        assert not [t.name for t in threading.enumerate() if t.name.startswith("sweepflow")]
        assert not list(self.store.root.rglob("*.tmp"))


@contextmanager
def together(act: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread; what goes wrong there is raised here."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, name="disturbance", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE)
        for error in errors:
            raise error
