"""Progress of the jobs of a sweep of a Python callable, for a terminal, a notebook, or lines of output."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sweepflow.errors import in_words
from sweepflow.jobs.job import Job
from sweepflow.report.numbers import counted
from sweepflow.streak import CALL_ON, Streak
from sweepflow.tasks.progress import LINE_SECONDS, TooManyFailuresError


class FailureLimit:
    """Ends a sweep of jobs that this process calls, once too many jobs in a row have failed in the same way.

    Args:
        most: Number of such failures in a row that ends the sweep; 0 for no limit.
    """

    def __init__(self, most: int) -> None:
        self._most, self._streak = most, Streak()

    def ended(self, job: Job) -> None:
        """Count a job that was called."""
        failure = None if job.error is None else in_words(job.error)
        self._streak = self._streak.after(str(job.number), failure)

    def check(self) -> None:
        """Check, before another job is called, that the limit is not reached.

        Raises:
            TooManyFailuresError: if no more jobs are to be called.
        """
        if 0 < self._most <= len(self._streak):
            raise TooManyFailuresError(
                f"{counted(len(self._streak), 'job')} in a row failed alike, so no more are called",
                got=self._streak.said,
                do=CALL_ON,
            )


@contextmanager
def jobs_progress(
    name: str, total: int | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[Job], None]]:
    """Show a bar on a terminal or in a notebook, and elsewhere one line per minute.

    A sweep that takes less than a minute has no such line.

    Args:
        name: Name of the sweep.
        total: Number of jobs of the sweep; None if it is not known.
        clock: Function that returns the time in seconds.

    Yields:
        Function to call with every job that has ended.
    """
    console = Console(stderr=True)
    looked_at = (console.is_terminal or console.is_jupyter) and total != 1
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    counts = {"failed": 0, "from the store": 0}
    done, line_at = 0, clock()
    with Progress(*columns, console=console, transient=True, disable=not looked_at) as bar:
        task = bar.add_task(name, total=total)

        def ended(job: Job) -> None:
            nonlocal done, line_at
            done += 1
            counts["failed"] += job.status == "failed"
            counts["from the store"] += job.from_store
            said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            bar.update(task, advance=1, description=f"{name}: {said}" if said else name)
            if not looked_at and clock() - line_at >= LINE_SECONDS:
                line_at = clock()
                of = "" if total is None else f"/{total}"
                words = f"{name}: {done}{of} jobs{f', {said}' if said else ''}"
                console.print(words, highlight=False, soft_wrap=True)

        yield ended
