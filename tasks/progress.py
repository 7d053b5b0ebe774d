"""How far a sweep is: a progress bar on a terminal, a progress artifact in Prefect."""

from __future__ import annotations

import sys
from types import TracebackType
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sweepflow.llc.plan import Plan


class SweepProgress:
    """Counts batches and trials of one sweep as they finish.

    Where the output is no terminal, one line a batch is printed instead of a bar.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._batches = 0
        self._trials = 0
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._missing = plan.trials - plan.hits
        self._task = self._bar.add_task(plan.name, total=max(self._missing, 1), counts=self.counts)
        self._artifact: UUID | None = None

    @property
    def counts(self) -> str:
        """Batches done, trials done, cache hits."""
        return (
            f"batches {self._batches}/{self._plan.batches}, trials {self._trials}/{self._missing}, "
            f"{self._plan.hits} from the store"
        )

    def __enter__(self) -> SweepProgress:
        self._artifact = create_progress_artifact(  # type: ignore[assignment]
            progress=0.0, key="sweep-progress", description=self._plan.name
        )
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def batch_done(self, name: str, trials: int, ended: str) -> None:
        """Count a batch that has ended, well or not."""
        self._batches += 1
        self._trials += trials
        self._bar.update(self._task, advance=trials, counts=self.counts)
        if self._bar.disable:
            self._console.print(f"{ended}: {name} ({self.counts})", highlight=False, soft_wrap=True)
        if self._artifact is not None:
            update_progress_artifact(
                self._artifact,
                progress=100.0 * self._batches / max(self._plan.batches, 1),
                description=f"{self._plan.name}: {self.counts}",
            )
