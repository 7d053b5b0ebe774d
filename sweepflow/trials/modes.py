"""Choice of the cheapest way to run a sweep, predicted from measured times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweepflow.engine.workload import Trial
from sweepflow.storage.record import Record

Mode = Literal["batched", "sequential", "auto"]
MODES: tuple[Mode, ...] = ("batched", "sequential", "auto")


@dataclass(frozen=True)
class Measured:
    """Measured times of a probe of one way.

    Attributes:
        compile: Seconds to compile one program.
        run: Seconds of one call of the program.
        lanes: Trials that one call holds, over all devices; a call with fewer trials costs the same.
    """

    compile: float
    run: float
    lanes: int


@dataclass(frozen=True)
class Prediction:
    """Predicted time of one way.

    Attributes:
        way: `batched`, `sequential` or `padded`.
        programs: Programs to compile.
        calls: Calls of a program, with one trial per lane.
        seconds: Predicted seconds, including compilation.
        measured: Measured times that the prediction is based on.
    """

    way: str
    programs: int
    calls: int
    seconds: float
    measured: Measured

    def words(self) -> str:
        """Return the parts of the prediction in words, for people."""
        return (
            f"{self.way} {self.seconds:.2g} s ({self.programs} x {self.measured.compile:.2g} s compiling + "
            f"{self.calls} x {self.measured.run:.2g} s running)"
        )


def probe_trials(
    groups: Sequence[Sequence[Trial[Any]]], lanes: int, padded: bool
) -> dict[str, list[Trial[Any]]]:
    """Return trials to probe each way with. No trial is probed in two ways: a stored trial takes no time.

    One call of a way is enough. The largest group is probed in batches. A way is omitted if no trial is left
    for it.

    Args:
        groups: Trials to run, by program.
        lanes: Trials that a call holds.
        padded: Whether trials of all groups can share a program.
    """
    order = sorted(groups, key=len, reverse=True)
    ways = {"batched": list(order[0][:lanes])}
    rest = [*order[0][lanes:], *(trial for group in order[1:] for trial in group)]
    if rest:
        ways["sequential"] = rest[:1]
    if padded and len(rest) > 1:
        ways["padded"] = rest[1 : 1 + lanes]
    return ways


def measured(records: Sequence[Record], lanes: int) -> Measured | None:
    """Return the times of one call from its records: their seconds are the call's, divided by its trials.

    Returns:
        The times; None if no trial was run to its end.
    """
    ran = [record for record in records if record.status != "failed" and record.seconds]
    if not ran:
        return None
    return Measured(
        compile=sum(record.seconds.get("compile", 0.0) for record in ran),
        run=sum(record.seconds.get("run", 0.0) for record in ran),
        lanes=lanes,
    )


def predict(way: str, group_sizes: Sequence[int], probe: Measured) -> Prediction:
    """Predict the time to run groups of these sizes, if every program is like the one that was probed."""
    calls = sum(math.ceil(size / probe.lanes) for size in group_sizes)
    seconds = len(group_sizes) * probe.compile + calls * probe.run
    return Prediction(way, len(group_sizes), calls, seconds, probe)


def choose(predictions: Mapping[str, Prediction]) -> tuple[str, str]:
    """Return the cheapest way, and the reason in words; batched if nothing could be measured."""
    if not predictions:
        return "batched", "mode auto: batched, as nothing could be measured"
    order = sorted(predictions.values(), key=lambda one: one.seconds)
    reasons = "; ".join(one.words() for one in order)
    return order[0].way, f"mode auto: {order[0].way}, the cheapest predicted of: {reasons}"
