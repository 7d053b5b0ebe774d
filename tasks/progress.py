"""How far a sweep is: a progress bar on a terminal, a progress artifact in Prefect."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sweepflow.store.record import Record
from tasks.worker import this_worker

STRAGGLER_SECONDS = 120.0
"""A batch that has run for longer is named."""

TOPIC = "sweepflow-points"
"""Of Dask's events, by which workers say how far their batches are."""

_SHOWN: list[SweepProgress] = []
"""The sweeps of this process that are being shown."""


def announce(record: Record) -> None:
    """Count a record as soon as it is stored, where its batch runs in the process that shows the progress."""
    for progress in _SHOWN:
        progress.trial_done(record)


def announce_points(name: str, done: int, of: int) -> None:
    """Say how far a batch is that cannot be counted in trials yet, wherever its progress is shown."""
    if (worker := this_worker()) is not None:
        # Not as a dict: Dask adds entries of its own to those.
        worker.log_event(TOPIC, (name, done, of))
    show_points(name, done, of)


def show_points(name: str, done: int, of: int) -> None:
    """Show how far a batch is, where this process shows its progress."""
    for progress in _SHOWN:
        progress.points(name, done, of)


class SweepProgress:
    """Counts batches and trials of one sweep as they finish.

    Where the output is no terminal, one line a batch is printed instead of a bar.

    Args:
        name: The sweep's name.
        trials: Ids of the trials that have to be run.
        batches: Batches to run.
        hits: Trials from the store.
        remark: Called with every record; what it returns is shown (the best so far, say).
        tell: Called with what has changed: `total`, `done`, `known`, `lost` and `waiting`.
    """

    def __init__(
        self,
        name: str,
        trials: Iterable[str],
        batches: int,
        hits: int,
        remark: Callable[[Record], str] | None = None,
        tell: Callable[..., None] | None = None,
    ) -> None:
        self._name = name
        self._tell = tell
        self._lost = 0
        self._waiting_for = self._straggler = ""
        self._points: dict[str, float] = {}
        self._waiting = set(trials)
        self._missing = len(self._waiting)
        self._total = batches
        self._hits = hits
        self._remark = remark
        self._said = ""
        self._batches = 0
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=not sys.stderr.isatty(),
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
        _SHOWN.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _SHOWN.remove(self)
        self._bar.stop()

    def expect(self, trials: Iterable[str], batches: int) -> None:
        """More work than was known at first: a later stage that an earlier one decides."""
        more = set(trials) - self._waiting
        self._waiting |= more
        self._missing += len(more)
        self._total += batches
        self._show()

    def trial_done(self, record: Record) -> None:
        """Count a trial whose record is stored."""
        if record.id in self._waiting:
            self._waiting.discard(record.id)
            if self._remark is not None:
                self._said = self._remark(record)
            self._show()

    def split(self, more: int) -> None:
        """A batch was cut: there are more of them."""
        self._total += more
        self._show()

    def now(self, waiting: str, lost: int, longest: tuple[str, float]) -> None:
        """What the workers do.

        Args:
            waiting: What there is to wait for; empty where nothing is.
            lost: Workers lost so far.
            longest: The batch that has run for longest, and its seconds.
        """
        if (waiting, lost) != (self._waiting_for, self._lost):
            if self._bar.disable and waiting:
                self._console.print(f"waiting: {waiting}", highlight=False, soft_wrap=True)
            if self._bar.disable and lost > self._lost:
                self._console.print(f"workers lost: {lost}", highlight=False, soft_wrap=True)
            self._waiting_for, self._lost = waiting, lost
        name, seconds = longest
        self._straggler = f"{name} runs for {seconds / 60:.0f} min" if seconds > STRAGGLER_SECONDS else ""
        self._show()

    def points(self, name: str, done: int, of: int) -> None:
        """A batch has come so far."""
        self._points[name] = done / of if of else 1.0  # a target that is not trained has none
        self._show()

    def say(self, line: str) -> None:
        """Print a line, where it says anything."""
        if line:
            self._console.print(line, highlight=False, soft_wrap=True)

    def batch_done(self, name: str, trials: Iterable[str], ended: str) -> None:
        """Count a batch that has ended, well or not.

        Args:
            name: Its name.
            trials: Ids of those of its trials that have a record.
            ended: How, in a word.
        """
        self._batches += 1
        self._points.pop(name, None)
        self._waiting -= set(trials)
        self._show()
        if self._bar.disable:
            said = f"; {self._said}" if self._said else ""
            self._console.print(f"{ended}: {name} ({self.counts}{said})", highlight=False, soft_wrap=True)
        if self._artifact is not None:
            with _unreachable_is_no_matter():
                update_progress_artifact(
                    self._artifact,
                    progress=100.0 * self._batches / max(self._total, 1),
                    description=f"{self._name}: {self.counts}{f', {self._said}' if self._said else ''}",
                )

    def _show(self) -> None:
        done = self._missing - len(self._waiting)
        lost = f"{self._lost} workers lost" if self._lost else ""
        parts = ", ".join(f"{share:.0%} of {name}" for name, share in list(self._points.items())[:2])
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


def _unreachable_is_no_matter() -> suppress:
    """A server that is away does not end a sweep: the artifact is shown again with the next batch."""
    return suppress(httpx.HTTPError, PrefectHTTPStatusError)
