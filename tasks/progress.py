"""Progress of a sweep: a progress bar on a terminal, a progress artifact in Prefect."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType, TracebackType
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sweepflow.errors import StoreError
from sweepflow.report.numbers import counted
from sweepflow.stop import EndedEarlyError
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.streak import GO_ON, MOST, Streak, why_failed
from sweepflow.tasks.output import is_progress_shown
from sweepflow.tasks.worker import this_worker

STRAGGLER_SECONDS = 120.0
"""Running time; a batch that has run for longer is named."""
LINE_SECONDS = 60.0
"""Shortest time between two lines with the progress of a sweep, if the output is no terminal."""
SAME_LINE_SECONDS = 600.0
"""Shortest time between two lines that say the same."""
LOOK_SECONDS = 5.0
"""Shortest time between two searches of the store for records of trials that are not done."""
LOOK_SHARE = 0.05
"""Largest share of the time that is spent on these searches, which may be slow on a network file system."""
MOST_PARTS = 2
"""Largest number of long batches that are shown at once."""

TOPIC = "sweepflow-points"
"""Topic of the Dask events by which workers report the progress of their batches."""

_SHOWN: list[SweepProgress] = []
"""Sweeps of this process whose progress is shown."""


def announce(record: Record) -> None:
    """Count a record as soon as it is stored, if its batch runs in the process that shows the progress."""
    for progress in _SHOWN:
        progress.trial_done(record)


def announce_points(name: str, done: int, of: int) -> None:
    """Report the progress of a batch that cannot be counted in trials yet, wherever it is shown."""
    if (worker := this_worker()) is not None:
        # Not as a dict: Dask adds entries of its own to those.
        worker.log_event(TOPIC, (name, done, of))
    show_points(name, done, of)


def show_points(name: str, done: int, of: int) -> None:
    """Show the progress of a batch, if this process shows progress."""
    for progress in _SHOWN:
        progress.points(name, done, of)


class TooManyFailuresError(EndedEarlyError):
    """Too many calls in a row have failed in the same way."""


class SweepProgress:
    """Counts batches and trials of one sweep as they finish.

    If the output is no terminal, lines are printed instead of a bar: one at the beginning, one per batch, and
    one per minute if there is anything new.

    Args:
        name: The sweep's name.
        trials: Ids of the trials that have to be run.
        batches: Number of batches to run.
        hits: Number of trials from the store.
        remark: Function that is called with every record; its result is shown (for example the best so far).
        tell: Function that is called after changes, with `total`, `done`, `known`, `lost` and `waiting`.
        store: Store to search for records that other processes write; None if no other process writes.
        max_failures: Number of calls in a row with the same failure at which `now` ends the sweep; 0 for no
            limit.
        clock: Function that returns the time in seconds.
        why_failed: Function that returns the failure of a record's trial; None if the trial has not failed.
        advice: Advice that is given once `now` has ended the sweep.
    """

    def __init__(
        self,
        name: str,
        trials: Iterable[str],
        batches: int,
        hits: int,
        remark: Callable[[Record], str] | None = None,
        tell: Callable[..., None] | None = None,
        store: Store | None = None,
        max_failures: int = MOST,
        clock: Callable[[], float] = time.monotonic,
        why_failed: Callable[[Record], str | None] = why_failed,
        advice: str = GO_ON,
    ) -> None:
        self._store, self._max_failures, self._clock = store, max_failures, clock
        self._why_failed, self._advice = why_failed, advice
        self._streak = self._alike = Streak()
        self._counting = threading.Lock()
        self._calls: dict[str, str] = {}
        self._written: dict[str, int] = {}
        self._look_at = self._line_at = -math.inf
        self._line = ""
        self._name = name
        self._tell = tell
        self._lost = 0
        self._waiting_for = self._straggler = ""
        self._points: dict[str, float] = {}
        self._waiting = set(trials)
        self._failed: set[str] = set()
        self._missing = len(self._waiting)
        self._total = batches
        self._hits = hits
        self._remark = remark
        self._said = ""
        self._batches = 0
        self._console = Console(stderr=True, quiet=not is_progress_shown())
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            # A bar would swallow what others write on standard error meanwhile, if its console is quiet.
            disable=self._console.quiet or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(name, total=max(self._missing, 1), counts=self.counts, said="")
        self._artifact: UUID | None = None

    @property
    def counts(self) -> str:
        """Batches done, trials done, cache hits."""
        done = self._missing - len(self._waiting)
        trials = f"trials {done}/{self._missing}, {self._hits} from the store"
        return f"batches {self._batches}/{self._total}, {trials}"

    def __enter__(self) -> SweepProgress:
        with _unreachable_is_no_matter():
            self._artifact = create_progress_artifact(  # type: ignore[assignment]
                progress=0.0, key="sweep-progress", description=self._name
            )
        self._bar.start()
        self._show()
        if self._missing:
            self._say_how_far()
        _SHOWN.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _SHOWN.remove(self)
        self._bar.stop()
        if isinstance(error, TooManyFailuresError):  # what was in hand has ended since
            self._look_at = -math.inf
            self._look()
            raise self._too_many() from None

    def expect(
        self, trials: Iterable[str], batches: int, calls: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Add work that was not known at first: a later stage that an earlier stage decides.

        Args:
            trials: Ids of the trials.
            batches: Number of their batches.
            calls: By trial, the call that it shares with other trials, if it shares one.
        """
        trials = set(trials)
        self._failed -= trials  # they are run again
        more = trials - self._waiting
        self._waiting |= more
        self._missing += len(more)
        self._total += batches
        self._calls |= calls
        if self._store is not None:  # an old failure, say
            self._written |= self._store.written(more)
        self._show()
        if more:
            self._say_how_far()

    def trial_done(self, record: Record) -> None:
        """Count a trial whose record is stored."""
        if record.id in self._waiting:
            self._waiting.discard(record.id)
            self._ended(self._calls.get(record.id, record.id), self._why_failed(record))
            if self._remark is not None:
                self._said = self._remark(record)
            self._show()

    def _ended(self, call: str, failure: str | None) -> None:
        """Count a call for `max_failures`; batches of this process call this from their own threads."""
        with self._counting:
            self._streak = self._streak.after(call, failure)

    def split(self, more: int) -> None:
        """Add the batches that result when a batch is cut."""
        self._total += more
        self._show()

    def now(self, waiting: str, lost: int, longest: tuple[str, float]) -> None:
        """Update the state of the workers.

        Args:
            waiting: Description of what the sweep waits for; empty if it waits for nothing.
            lost: Number of workers lost so far.
            longest: The batch that has run for the longest time, and its seconds.

        Raises:
            TooManyFailuresError: if the sweep only fails.
        """
        self._look()
        if (waiting, lost) != (self._waiting_for, self._lost):
            if self._bar.disable and waiting:
                self._console.print(f"waiting: {waiting}", highlight=False, soft_wrap=True)
            if self._bar.disable and lost > self._lost:
                self._console.print(f"workers lost: {lost}", highlight=False, soft_wrap=True)
            self._waiting_for, self._lost = waiting, lost
        name, seconds = longest
        self._straggler = f"{name} runs for {seconds / 60:.0f} min" if seconds > STRAGGLER_SECONDS else ""
        self._show()
        since = self._clock() - self._line_at
        if since >= (LINE_SECONDS if self._how_far() != self._line else SAME_LINE_SECONDS):
            self._say_how_far()
        if self._fails_only():
            self._look_at = -math.inf
            self._look()
        if self._fails_only():  # as far as the store has it
            self._alike = self._streak
            raise self._too_many()

    def _too_many(self) -> TooManyFailuresError:
        return TooManyFailuresError(
            f"{counted(len(self._alike), 'call')} in a row failed alike, so the sweep is ended with "
            f"{len(self._not_run):,} of {counted(self._missing + self._hits, 'trial')} not run",
            got=self._alike.said,
            do=self._advice,
        )

    @property
    def _not_run(self) -> set[str]:
        """Ids of the trials that have no result and have not failed."""
        return self._waiting - self._failed

    def _fails_only(self) -> bool:
        """Return whether so many calls in a row have failed in the same way that no more trials are begun."""
        return 0 < self._max_failures <= len(self._streak) and bool(self._not_run)

    def points(self, name: str, done: int, of: int) -> None:
        """Update the progress of a batch."""
        self._points[name] = done / of if of else 1.0  # a target that is not trained has none
        self._show()

    def say(self, line: str) -> None:
        """Print a line, if it is not empty."""
        if line:
            self._console.print(line, highlight=False, soft_wrap=True)

    def batch_done(
        self, name: str, trials: Iterable[str], ended: str, why: str = "", failed: Iterable[str] = ()
    ) -> None:
        """Count a batch that has ended, successfully or not.

        Args:
            name: Name of the batch.
            trials: Ids of its trials that have a record.
            ended: Outcome of the batch, in a word.
            why: Cause of the failure, if its task run has failed.
            failed: Ids of its trials that have no record because of that failure.
        """
        self._batches += 1
        if why:
            self._ended(name, why)
        self._points.pop(name, None)
        self._waiting -= set(trials)
        self._failed |= set(failed)
        self._show()
        if self._bar.disable:
            said = f"; {self._said}" if self._said else ""
            self._console.print(f"{ended}: {name} ({self.counts}{said})", highlight=False, soft_wrap=True)
            self._line_at, self._line = self._clock(), self._how_far()
        if self._artifact is not None:
            with _unreachable_is_no_matter():
                update_progress_artifact(
                    self._artifact,
                    progress=100.0 * self._batches / max(self._total, 1),
                    description=f"{self._name}: {self.counts}{f', {self._said}' if self._said else ''}",
                )

    def _look(self) -> None:
        """Count trials whose records are in the store, whichever process has written them.

        Batches on workers report their finished trials only when they end, which may be hours later.
        """
        begun = self._clock()
        if self._store is None or not self._waiting or begun < self._look_at:
            return
        with suppress(StoreError):  # it is looked at again
            found = self._store.written(self._waiting.copy())  # batches in threads count, too
            # In the order that they ended in: what counts as a row of failures goes by it.
            new = sorted(
                (i for i, when in found.items() if self._written.get(i) != when), key=found.__getitem__
            )
            for record in self._store.known(new).values():
                self.trial_done(record)
        took = self._clock() - begun
        self._look_at = begun + max(LOOK_SECONDS, took / LOOK_SHARE)

    def _parts(self) -> str:
        return ", ".join(f"{share:.0%} of {name}" for name, share in list(self._points.items())[:MOST_PARTS])

    def _how_far(self) -> str:
        """Return the progress as a line, for output without a bar."""
        said = [self.counts, self._said, self._parts()]
        return f"{self._name}: {'; '.join(filter(None, said))}"

    def _say_how_far(self) -> None:
        self._line_at, self._line = self._clock(), self._how_far()
        if self._bar.disable:
            self._console.print(self._line, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        done = self._missing - len(self._waiting)
        lost = f"{self._lost} workers lost" if self._lost else ""
        parts = self._parts()
        said = [self._said, lost, self._waiting_for, parts, self._straggler]
        self._bar.update(
            self._task,
            total=max(self._missing, 1),
            completed=done,
            counts=self.counts,
            said="; ".join(filter(None, said)),
        )
        if self._tell is not None:
            self._tell(
                total=self._missing + self._hits,
                done=done + self._hits,
                known=self._hits,
                lost=self._lost,
                waiting=self._waiting_for or parts,
            )


@contextmanager
def _unreachable_is_no_matter() -> Iterator[None]:
    """Ignore a server that cannot be reached.

    It neither ends a sweep nor delays it: the next batch shows the artifact again.
    """
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), suppress(httpx.HTTPError):
        yield
