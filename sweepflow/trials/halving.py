"""Successive halving (Jamieson and Talwalkar 2016): after each rung only the best continue.

A rung is a number of epochs. The trials of a group run up to the rung, the best 1/eta of them continue from
their kept states, and the rest stop. A trial that stops is a separate trial, with its own record. A trial
that reaches the end has the same result as without halving.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import canonical_json
from sweepflow.report.trials.view import value_of
from sweepflow.schema.fields import Role, dump
from sweepflow.storage.record import Record
from sweepflow.workloads.goal import Goal


def rungs(epochs: int, eta: int) -> tuple[int, ...]:
    """Return the numbers of epochs at which trials are compared; the last one is all epochs.

    Each rung is eta times the one before it. There are at most three rungs, so that the first comparison is
    not too early (Li et al. 2018 hedge over that; a sweep that is in doubt can be run without halving).

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
    groups: Mapping[str, Sequence[Sequence[str]]],
    records: Mapping[str, Record],
    metric: str,
    goal: Goal,
    eta: int,
) -> set[str]:
    """Return the ids of trials that continue: of each group, the best 1/eta of its configurations, rounded
    up, with all their repeats.

    A configuration that lost a repeat (diverged, failed, no value) does not continue.

    Args:
        groups: Configurations by group, each as the ids of its repeats.
        records: Record of each id at this rung.
        metric: Figure to compare by; the figure of a configuration is the mean over its repeats.
        goal: Direction of the metric.
        eta: One in eta continues.
    """
    sign = 1 if goal == "minimize" else -1
    kept: set[str] = set()
    for configurations in groups.values():
        scores = {}
        for repeats in configurations:
            found = [records.get(trial_id) for trial_id in repeats]
            values = [None if record is None else value_of(record, metric) for record in found]
            if all(value is not None for value in values):
                scores[tuple(repeats)] = sign * statistics.fmean(v for v in values if v is not None)
        order = sorted(scores, key=lambda repeats: scores[repeats])  # stable: equals in the order asked for
        kept.update(*order[: math.ceil(len(configurations) / eta)])
    return kept


def repeats(trials: Iterable[Trial[Any]], seed_key: str | None) -> list[list[str]]:
    """Group the ids of trials that differ only in their seed; in the order asked for."""
    found: dict[str, list[str]] = {}
    for trial in trials:
        config = dump(trial.config, Role.LOCATION)
        if seed_key is not None:
            path = seed_key.split(".")
            within = config
            for part in path[:-1]:
                within = within[part]
            within.pop(path[-1], None)
        found.setdefault(canonical_json(config), []).append(trial.id)
    return list(found.values())


def call_size(trials: int, eta: int, stops: int, lanes: int) -> int:
    """Return the number of trials that a group's program holds at every rung: the number of trials at the
    last rung, but at least the trials of one call.

    Then survivors fill fewer calls of the same compiled program.
    """
    return max(lanes, -(-trials // eta ** (stops - 1)))
