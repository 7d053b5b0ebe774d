"""Configurations: trials that differ only in their seed, with the combined results of these repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int
from omegaconf import OmegaConf

from sweepflow.errors import ConfigError
from sweepflow.report.numbers import short, with_error
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Json, Record, Status

_WORST_FIRST: tuple[Status, ...] = ("failed", "diverged", "flagged", "ok")


@dataclass(frozen=True, eq=False)
class Configuration:
    """The repeats of one configuration.

    Attributes:
        view: The sweep of the configuration.
        places: Indices of its trials in the view's records, in the requested order.
    """

    view: TrialsView
    places: tuple[int, ...]

    @property
    def records(self) -> list[Record]:
        """The records of the repeats."""
        return [self.view.records[place] for place in self.places]

    @cached_property
    def values(self) -> list[float]:
        """The metric of the repeats that have a value."""
        return [v for place in self.places if math.isfinite(v := float(self.view.values[place]))]

    @property
    def n(self) -> int:
        """Number of requested repeats, with and without a value or a record."""
        return max(len(self.places), *(self.view.asked.get(record.id, 0) for record in self.records))

    @property
    def n_failed(self) -> int:
        """Number of repeats without a value."""
        return self.n - len(self.values)

    @property
    def mean(self) -> float | None:
        """Mean of the metric over the repeats that have a value; None if there is none."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Standard deviation between repeats (n - 1); None with fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def best(self) -> float | None:
        """The best value of a repeat, by the view's goal."""
        return min(self.values, key=lambda v: self.view.sign * v, default=None)

    @property
    def worst(self) -> float | None:
        """The worst value of a repeat, by the view's goal."""
        return max(self.values, key=lambda v: self.view.sign * v, default=None)

    @property
    def place(self) -> int:
        """Index of the best repeat; of the first repeat if none has a value."""
        scores = self.view.scores
        return min(self.places, key=lambda p: scores[p] if math.isfinite(scores[p]) else math.inf)

    @property
    def status(self) -> Status:
        """The worst status of a repeat."""
        ours = {record.status for record in self.records}
        return next(status for status in _WORST_FIRST if status in ours)

    @property
    def value_text(self) -> str:
        """The mean, with the standard deviation between repeats if there are several values."""
        return with_error(self.mean, self.sd) if self.sd is not None else short(self.mean, 4)

    @property
    def merit(self) -> tuple[bool, float, bool, float]:
        """Sort key that puts the best first: configurations that halving let run further, then complete ones
        before those that lost a repeat, then by mean metric."""
        mean = self.mean
        rung = float(self.view.rungs[list(self.places)].max())
        return mean is None, -rung, self.n_failed > 0, math.inf if mean is None else self.view.sign * mean


def configurations(view: TrialsView) -> list[Configuration]:
    """Every configuration once, in the order in which it was first requested."""
    return [Configuration(view, places) for places in view.repeats]


def ranked(view: TrialsView) -> list[Configuration]:
    """Every configuration, the best first."""
    return sorted(configurations(view), key=lambda c: c.merit)


def configuration_numbers(view: TrialsView) -> Int[np.ndarray, " trials"]:
    """The number of each trial's configuration, by the trial's index, in the order first requested."""
    numbers = np.zeros(len(view.records), dtype=np.int64)
    for index, places in enumerate(view.repeats):
        numbers[list(places)] = index
    return numbers


def has_repeats(ours: Sequence[Configuration]) -> bool:
    """Return whether any configuration has more than one repeat."""
    return any(c.n > 1 for c in ours)


def best(view: TrialsView) -> Configuration | None:
    """The configuration with the best mean metric over its repeats; None if no trial has a value.

    A configuration that lost a repeat (diverged or failed) ranks below every complete one.
    """
    first = min(configurations(view), key=lambda c: c.merit, default=None)
    return None if first is None or first.mean is None else first


def best_first(view: TrialsView) -> Int[np.ndarray, " valued"]:
    """Indices of the trials with a value: the best trial first, then the others by their metric.

    The best trial is the best repeat of the best configuration (see `best`). Every table and chart marks it,
    even if a lucky repeat of another configuration or a trial that halving stopped early has a better value.
    """
    found = best(view)
    if found is None:
        return view.by_merit
    return np.concatenate([[found.place], view.by_merit[view.by_merit != found.place]])


def best_in_words(view: TrialsView) -> str:
    """The definition of the best trial, in a sentence; empty if it is simply the one with the best value."""
    repeats, halved = has_repeats(configurations(view)), bool(view.stopped.any())
    if not repeats and not halved:
        return ""
    what = "the best repeat of the configuration with the best mean" if repeats else "the best"
    among = " among those that halving let go furthest" if halved else ""
    return f"The best trial is {what}{among}."


def best_yaml(view: TrialsView, command: str = "", option: str = "", workload: str = "") -> str:
    """The best configuration as a file for Hydra: an experiment, or a file of overrides.

    Nulls and empty lists that are the same in all trials are left out: they are the defaults. The seed is
    that of the best repeat, so running the file gives the trial that its comment names.

    Args:
        view: The sweep.
        command: The command that started the sweep; it is written in a comment.
        option: The option of the group `workload` that the sweep used; the file then uses it too.
        workload: The workload's path, if the option does not say it.

    Raises:
        ConfigError: if no trial has a value.
    """
    found = best(view)
    if found is None:
        raise ConfigError(
            f"This sweep has no best configuration: no trial has a value of {view.metric}.",
            got=", ".join(f"{count:,} {status}" for status, count in view.counts.items()) or "no trials",
            do="see the trials' reasons in runs.csv",
        )
    value = f"{view.metric}: {found.value_text} ({view.goal})"
    if found.n > 1:
        value += f", mean ± sd over {len(found.values)} of {found.n} repeats"
    goal = [f"goal: {view.better}; --goal says otherwise"] if view.guessed else []
    notes = [value, *goal, f"trial: {view.records[found.place].id}"]
    if command:
        notes.append(f"sweep: {' '.join(command.split())}")
    notes.append("as DIR/experiment/best.yaml: sweepflow train --config-dir DIR +experiment=best")
    comments = "".join(f"# {note}\n" for note in notes)
    chosen: dict[str, Json] = {"defaults": [{"override /workload": option}]} if option else {}
    chosen |= {"workload": workload} if workload else {}
    given = _given(dict(view.records[found.place].config), frozenset(view.varying))
    config = OmegaConf.create(chosen | _literal(given))
    return f"# @package _global_\n{comments}{OmegaConf.to_yaml(config)}"


def _given(config: Mapping[str, Json], varying: frozenset[str], prefix: str = "") -> dict[str, Json]:
    """The configuration without nulls and empty lists, except those of keys that vary."""
    kept: dict[str, Json] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            kept[key] = _given(value, varying, f"{path}.")
        elif path in varying or not (value is None or value == [] or value == ()):
            kept[key] = value
    return kept


def _literal(value: Json) -> Json:
    """The same JSON with `${` escaped, so that Hydra reads it as text."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    return [_literal(inner) for inner in value] if isinstance(value, (list, tuple)) else value
