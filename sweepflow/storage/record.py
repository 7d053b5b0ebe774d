"""What the store keeps of one trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

Status = Literal["ok", "flagged", "diverged", "failed"]
"""ok; finished but not to be trusted (the reasons say why); left the finite numbers; could not run."""

Json = Any


@dataclass(frozen=True, eq=False)
class Record:
    """One trial's result.

    Attributes:
        id: The trial's fingerprint.
        workload: The workload's name, `target` or `llc`.
        version: The workload's `VERSION`.
        status: How it ended.
        reasons: In words, why the status is not `ok`; empty where it is.
        advice: What to do about each reason, in their order: an override as a rule, empty where nothing is
            known to help.
        notes: In words, what is worth knowing and speaks against nothing.
        config: Everything that decided the result, as plain JSON.
        figures: The numbers that tables show; None for one that could not be computed.
        seconds: `compile` (0.0 where the program was there already) and `run`: the batch's times, each
            divided by its trials.
        provenance: Versions, host, device, time of writing.
        arrays: What pictures and later stages need; saved beside the JSON, loaded on demand.
    """

    id: str
    workload: str
    version: int
    status: Status
    reasons: tuple[str, ...]
    config: Mapping[str, Json]
    figures: Mapping[str, Json]
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Json] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[tuple[str, str], ...]:
        """Each reason and what to do about it; records of before there was advice have none."""
        return tuple(zip_longest(self.reasons, self.advice[: len(self.reasons)], fillvalue=""))

    @property
    def advised(self) -> tuple[str, ...]:
        """Each reason, with what to do about it behind it."""
        return tuple(f"{reason} (do: {do})" if do else reason for reason, do in self.findings)
