"""Which way of running a sweep is the cheapest, predicted from measured times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sweepflow.store.record import Record

Mode = Literal["batched", "sequential", "auto"]
MODES: tuple[Mode, ...] = ("batched", "sequential", "auto")


@dataclass(frozen=True)
class Measured:
    """What a probe of one way took.

    Attributes:
        compile: Seconds that compiling one program takes.
        run: Seconds of one call of it.
        lanes: Trials that one call holds, over all devices; a call with fewer costs the same.
    """

    compile: float
    run: float
    lanes: int


@dataclass(frozen=True)
class Prediction:
    """What one way would take.

    Attributes:
        way: `batched`, `sequential` or `padded`.
        programs: Programs to compile.
        calls: Calls of a program, one trial a lane.
        seconds: Predicted, compilation included.
        measured: What it was predicted from.
    """

    way: str
    programs: int
    calls: int
    seconds: float
    measured: Measured

    def words(self) -> str:
        """For people: what the prediction is made of."""
        return (
            f"{self.way} {self.seconds:.2g} s ({self.programs} x {self.measured.compile:.2g} s compiling + "
            f"{self.calls} x {self.measured.run:.2g} s running)"
        )


def measured(records: Sequence[Record], lanes: int) -> Measured:
    """What the records of one call say of it; their seconds are the call's, divided by its trials."""
    return Measured(
        compile=sum(record.seconds.get("compile", 0.0) for record in records),
        run=sum(record.seconds.get("run", 0.0) for record in records),
        lanes=lanes,
    )


def predict(way: str, group_sizes: Sequence[int], probe: Measured) -> Prediction:
    """What it takes to run groups of these sizes, if every program is like the one that was probed."""
    calls = sum(math.ceil(size / probe.lanes) for size in group_sizes)
    seconds = len(group_sizes) * probe.compile + calls * probe.run
    return Prediction(way, len(group_sizes), calls, seconds, probe)


def choose(predictions: Mapping[str, Prediction]) -> tuple[str, str]:
    """The cheapest way, and why, in words."""
    order = sorted(predictions.values(), key=lambda one: one.seconds)
    reasons = "; ".join(one.words() for one in order)
    return order[0].way, f"mode auto: {order[0].way}, the cheapest predicted of: {reasons}"
