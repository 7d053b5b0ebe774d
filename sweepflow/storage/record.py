"""The record that the store keeps of one trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

Status = Literal["ok", "flagged", "diverged", "failed"]
"""Outcome of a trial: sound; finished but not reliable (the reasons say why); values became infinite or NaN;
could not run."""

Json = Any


@dataclass(frozen=True, eq=False)
class Record:
    """One trial's result.

    Attributes:
        id: The trial's fingerprint.
        workload: The workload's name, `target` or `llc`.
        version: The workload's `VERSION`.
        status: Outcome of the trial.
        reasons: Reasons why the status is not `ok`, in words; empty if it is `ok`.
        advice: Advice for each reason, in the same order: usually an override; empty if no remedy is known.
        notes: Other facts worth knowing, in words, which do not question the result.
        config: Everything that decided the result, as plain JSON.
        figures: The numbers that tables show; None for a number that could not be computed.
        seconds: `compile` (0.0 if the program was already compiled) and `run`: the batch's times, each
            divided by the number of its trials.
        provenance: Versions, host, device, time of writing.
        arrays: Arrays for charts and later stages; saved beside the JSON, loaded on demand.
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
        """Each reason with its advice; older records have no advice."""
        return tuple(zip_longest(self.reasons, self.advice[: len(self.reasons)], fillvalue=""))

    @property
    def advised(self) -> tuple[str, ...]:
        """Each reason, followed by its advice."""
        return tuple(f"{reason} (do: {do})" if do else reason for reason, do in self.findings)
