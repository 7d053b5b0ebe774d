"""The record of a trial that could not run."""

from __future__ import annotations

from typing import Any, Protocol

from sweepflow.engine.workload import Trial
from sweepflow.provenance import provenance
from sweepflow.schema.fields import recorded
from sweepflow.storage.record import Record


class Named(Protocol):
    """A workload, as the engine or as a sweep sees it."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...


def failed_record(workload: Named, trial: Trial[Any], reason: str, *, device: bool = True) -> Record:
    """Return the record that the store keeps of a trial that could not run.

    Args:
        workload: Workload of the trial.
        trial: The trial.
        reason: Reason, in words.
        device: Whether to include the device, as in `provenance`; false in a process that computes nothing
            itself.
    """
    return Record(
        id=trial.id,
        workload=workload.name,
        version=workload.version,
        status="failed",
        reasons=(reason,),
        config=recorded(trial.config),
        figures={},
        provenance=provenance(device=device),
    )
