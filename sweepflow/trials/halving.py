"""Successive halving (Jamieson and Talwalkar 2016): after each rung only the best go on.

A rung is a number of epochs. The trials of a group are run up to it, the best 1/eta of them go on from their
kept states, and the rest stop there. A trial that stops is a trial of its own, with a record of its own; one
that reaches the end has the same result as without halving.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sweepflow.errors import ConfigError
from sweepflow.store.record import Record
from sweepflow.workloads.workload import Goal


def rungs(epochs: int, eta: int) -> tuple[int, ...]:
    """Epochs at which trials are compared, the last one being all of them.

    Each rung is eta times the one before it; there are no more than three, so that a first look is not
    taken too early (Li et al. 2018 hedge over that; a sweep that is in doubt can be run without halving).

    Raises:
        ConfigError: for an eta below 2.
    """
    if eta < 2:
        raise ConfigError(
            "halving keeps one in ETA", got=f"--halving {eta}", allowed="a whole number from 2; 3 is usual"
        )
    stops = {max(1, round(epochs / eta**k)) for k in range(3)}
    return tuple(sorted(stops))


def survivors(
    groups: Mapping[str, Sequence[str]], records: Mapping[str, Record], metric: str, goal: Goal, eta: int
) -> set[str]:
    """Ids that go on: of each group the best 1/eta, rounded up; never one that has no value.

    Args:
        groups: Ids by group.
        records: Each id's record at this rung; an id without one does not go on.
        metric: The figure to compare by.
        goal: Its direction.
        eta: One in eta goes on.
    """
    sign = 1 if goal == "minimize" else -1
    kept: set[str] = set()
    for ids in groups.values():
        scores = {}
        for trial_id in ids:
            record = records.get(trial_id)
            value = None if record is None or record.status == "diverged" else record.figures.get(metric)
            if isinstance(value, (int, float)) and math.isfinite(value):
                scores[trial_id] = sign * value
        order = sorted(scores, key=lambda i: scores[i])  # stable: equals in the order asked for
        kept |= set(order[: math.ceil(len(ids) / eta)])
    return kept
