"""Where and how batches run, and where results are kept; never part of a fingerprint."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from sweepflow.schema.fields import Config

SweepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def default_store() -> str:
    """The store's directory where none is given."""
    return os.environ.get("SWEEPFLOW_STORE", "sweepflow-data")


class RunnerConfig(Config):
    """Where and how batches run; never part of a fingerprint."""

    kind: Literal["local"] = "local"
    batch_size: PositiveInt | Literal["auto"] = "auto"
    """Trials a batch; `auto` takes what the compiled program's memory figures allow."""
    memory_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the free memory that one batch may take; a batch that wants more is halved."""
    workers: PositiveInt | Literal["auto"] = "auto"
    """Batches in hand at once: some run, each on devices of its own, while others compile. `auto` takes one
    for every two cores, at least 2 and at most 8."""
