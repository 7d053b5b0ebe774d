"""The result of a job, and of many jobs."""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, flag_override

from sweepflow.errors import in_words
from sweepflow.words import aligned, shortened

Status = Literal["not called", "ok", "failed"]
Goal = Literal["minimize", "maximize"]
MAX_SHOWN = 60
"""Characters of a value that a table shows."""
MAX_ROWS = 50
"""Rows that a table of jobs shows before it is cut."""


@dataclass(eq=False)
class Job:
    """One call of the callable.

    Attributes:
        number: Number among the jobs of its sweep, from 0.
        overrides: Hydra overrides in which the job differs from the configuration as it was given.
        params: The job's values of the keys and groups that vary.
        cfg: Configuration that the callable was given.
        config: The same configuration as plain JSON, taken before the callable got it.
        of_hydra: Hydra's own configuration, shared by all jobs with the same choice of groups.
        task_name: Name of the callable.
        directory: Path of a folder that no other call has; the callable does not run in it.
        fingerprint: SHA-256 of callable and configuration, which is the id of the job's record in the store.
        status: `ok`, or `failed` if the callable raised or there is no result; `not called` until then.
        duration: Seconds that the call took; if the value is from the store, seconds of the original call.
        from_store: Whether the value was taken from the store and the callable was not called.
        error: Exception that the callable raised.
        traceback: Traceback of the exception, as text.
        score: Score that a sweeper was told; NaN if the job failed, None without a sweeper.
        note: Reason why the store does not keep the value; empty if the store keeps it.
        value: Return value of the callable; `return_value` raises if there is none.
    """

    number: int
    overrides: tuple[str, ...]
    params: Mapping[str, Any]
    cfg: Any
    config: Any = field(repr=False)
    of_hydra: DictConfig = field(repr=False)
    task_name: str
    directory: str
    fingerprint: str
    status: Status = "not called"
    duration: float = 0.0
    from_store: bool = False
    error: BaseException | None = None
    traceback: str = field(default="", repr=False)
    note: str = ""
    score: float | None = None
    value: Any = field(default=None, repr=False)

    @property
    def working_dir(self) -> str:
        """The job's own folder, created on access; if the value is from the store, the folder of the original
        call."""
        Path(self.directory).mkdir(parents=True, exist_ok=True)
        return self.directory

    @property
    def return_value(self) -> Any:
        """The return value of the callable.

        Raises:
            BaseException: the exception that the callable raised instead.
        """
        if self.error is not None:
            raise self.error
        return self.value

    @property
    def hydra_cfg(self) -> DictConfig:
        """Hydra's configuration of this job, under the key `hydra`."""
        own: DictConfig = copy.deepcopy(self.of_hydra)
        with flag_override(own, ["readonly", "struct"], False):
            own.hydra.job.num, own.hydra.job.id = self.number, str(self.number)
            own.hydra.job.name = self.task_name
            own.hydra.overrides.task = list(self.overrides)
            own.hydra.runtime.output_dir = self.working_dir
        return own

    def row(self) -> Mapping[str, str]:
        """Return the job as a row of a table."""
        shown = in_words(self.error) if self.error is not None else repr(self.value)
        return {
            "job": str(self.number),
            "overrides": _short(" ".join(self.overrides)),
            "status": self.status + (", from the store" if self.from_store else ""),
            "seconds": f"{self.duration:.3g}",
            "return value": "" if self.status == "not called" else _short(shown),
        }


class Jobs(list[Job]):
    """Jobs of one sweep, in their order. In a notebook they are shown as a table.

    Attributes:
        goal: Whether a small or a large score is good.
        batched: Keys whose values shared a call of the function.
    """

    goal: Goal = "minimize"
    batched: tuple[str, ...] = ()

    @property
    def best(self) -> Job | None:
        """The job with the best finite score, the first of several; None if no job has one."""
        scored = [job for job in self if job.score is not None and math.isfinite(job.score)]
        sign = -1 if self.goal == "maximize" else 1
        return min(scored, key=lambda job: sign * (job.score or 0.0), default=None)

    def __str__(self) -> str:
        rows = self._rows()
        if not rows:
            return "no jobs"
        return "\n".join([*aligned([[*rows[0]], *([*row.values()] for row in rows)]), *self._cut()])

    def _repr_html_(self) -> str:
        rows = self._rows()
        if not rows:
            return "<p>no jobs</p>"
        head = "".join(f"<th>{html.escape(name)}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row.values()) + "</tr>"
            for row in rows
        )
        cut = "".join(f"<p>{line}</p>" for line in self._cut())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{cut}"

    def _rows(self) -> list[Mapping[str, str]]:
        return [job.row() for job in self[:MAX_ROWS]]

    def _cut(self) -> list[str]:
        return [f"and {len(self) - MAX_ROWS} more"] if len(self) > MAX_ROWS else []


def well(jobs: Sequence[Job]) -> bool:
    """Return whether at least one job is ok; true if there are no jobs."""
    return not jobs or any(job.status == "ok" for job in jobs)


def summary(jobs: Sequence[Job]) -> str:
    """Return a summary such as `8 jobs, 3 of them failed`."""
    said = f"{len(jobs):,} job{'' if len(jobs) == 1 else 's'}"
    lost = {status: sum(job.status == status for job in jobs) for status in ("failed", "not called")}
    return ", ".join([said, *(f"{count:,} of them {status}" for status, count in lost.items() if count)])


def _short(text: str) -> str:
    return shortened(" ".join(text.split()), MAX_SHOWN)
