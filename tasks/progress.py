"""How far a sweep is: a progress bar on a terminal, a progress artifact in Prefect."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sweepflow.store.record import Record

_SHOWN: list[SweepProgress] = []
"""The sweeps of this process that are being shown."""


def announce(record: Record) -> None:
    """Count a record as soon as it is stored, where its batch runs in the process that shows the progress."""
    for progress in _SHOWN:
        progress.trial_done(record)


class SweepProgress:
    """Counts batches and trials of one sweep as they finish.

    Where the output is no terminal, one line a batch is printed instead of a bar.

    Args:
        name: The sweep's name.
        trials: Ids of the trials that have to be run.
        batches: Batches to run.
        hits: Trials from the store.
        remark: Called with every record; what it returns is shown (the best so far, say).
    """

    def __init__(
        self,
        name: str,
        trials: Iterable[str],
        batches: int,
        hits: int,
        remark: Callable[[Record], str] | None = None,
    ) -> None:
        self._name = name
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

    def batch_done(self, name: str, trials: Iterable[str], ended: str) -> None:
        """Count a batch that has ended, well or not."""
        self._batches += 1
        self._waiting -= set(trials)
        self._show()
        if self._bar.disable:
            said = f"; {self._said}" if self._said else ""
            self._console.print(f"{ended}: {name} ({self.counts}{said})", highlight=False, soft_wrap=True)
        if self._artifact is not None:
            update_progress_artifact(
                self._artifact,
                progress=100.0 * self._batches / max(self._total, 1),
                description=f"{self._name}: {self.counts}{f', {self._said}' if self._said else ''}",
            )

    def _show(self) -> None:
        self._bar.update(
            self._task,
            total=max(self._missing, 1),
            completed=self._missing - len(self._waiting),
            counts=self.counts,
            said=self._said,
        )
