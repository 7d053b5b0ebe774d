"""The trials of one sweep, in the form that every table and chart uses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.fingerprint import frozen
from sweepflow.report.headline import STATUSES
from sweepflow.report.labels import ABSENT, Flat, flatten
from sweepflow.report.numbers import NOT_SET, number, reads_alike, setting
from sweepflow.storage.record import Record
from sweepflow.workloads.goal import Aim, Goal

MAX_FIELDS = 4
"""Most settings in a trial's label."""

_BARE = frozenset({"kind", "name", "path"})
"""Last parts of keys that have no meaning without the parts before them."""


@dataclass(frozen=True, eq=False)
class TrialsView:
    """The trials of one sweep, their metric, and the keys that vary among them.

    A trial has a value if it finished (`ok` or `flagged`) and its figure is a finite number.

    Attributes:
        records: The records in the requested order.
        metric: Name of the figure that trials are judged by.
        goal: Direction of the metric: whether less or more is better.
        log_keys: Dotted keys that were drawn on a log scale.
        groups: The label of each trial's static group (compiled program), by trial id.
        seed_key: The dotted key in which repeats of a configuration differ; None if there is none.
        guessed: Whether the goal is guessed from the metric's name alone.
        asked: Number of requested repeats of a trial's configuration, by trial id, if there are several. Some
            repeats may have no record, because they have not run yet or were removed.

    Raises:
        ConfigError: if the goal is unknown, or if trials finished and none of them has the figure.
    """

    records: Sequence[Record]
    metric: str
    goal: Goal
    log_keys: frozenset[str]
    groups: Mapping[str, str]
    seed_key: str | None = "seed"
    guessed: bool = False
    asked: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.goal not in ("minimize", "maximize"):
            raise ConfigError(
                "The goal is unknown.",
                got=self.goal,
                allowed="minimize, maximize",
                do=did_you_mean(str(self.goal), ("minimize", "maximize")),
            )
        finished = [r for r in self.records if r.status in ("ok", "flagged")]
        if finished and not any(self.metric in r.figures for r in finished):
            known = {k: None for r in finished for k, v in r.figures.items() if isinstance(v, (int, float))}
            raise ConfigError(
                "No trial of this sweep has the figure that it is judged by.",
                got=self.metric,
                allowed=", ".join(known) or "nothing: the trials have no figures",
                do=did_you_mean(self.metric, known),
            )

    @property
    def sign(self) -> float:
        """1 if less is better, -1 if more is better: the product of sign and value is always minimised."""
        return Aim(self.metric, self.goal, self.guessed).sign

    @property
    def better(self) -> str:
        """The direction of better values, in words."""
        return Aim(self.metric, self.goal, self.guessed).better

    @cached_property
    def values(self) -> Float[np.ndarray, " trials"]:
        """The metric of each trial; NaN for a trial without a value."""
        found = (value_of(record, self.metric) for record in self.records)
        return np.array([np.nan if v is None else v for v in found], dtype=np.float64)

    @cached_property
    def scores(self) -> Float[np.ndarray, " trials"]:
        """The metric with the sign for which less is better; NaN for a trial without a value."""
        return self.sign * self.values

    @cached_property
    def by_merit(self) -> Int[np.ndarray, " valued"]:
        """Indices of the trials with a value, sorted by metric alone; equal ones are in the requested order.

        The best trial of a sweep is not always the first one: see `configurations.best`.
        """
        order = np.argsort(self.scores, kind="stable")
        return order[: int(np.isfinite(self.scores).sum())]

    @cached_property
    def lost(self) -> Int[np.ndarray, " lost"]:
        """Indices of the trials without a value."""
        return np.flatnonzero(~np.isfinite(self.scores))

    @cached_property
    def rungs(self) -> Float[np.ndarray, " trials"]:
        """The rung that each trial reached in halving; 0 for a trial without one."""
        return np.array([number(r.figures, "rung") or 0.0 for r in self.records], dtype=np.float64)

    @cached_property
    def stopped(self) -> Bool[np.ndarray, " trials"]:
        """Mask of the trials that halving stopped at an earlier rung than the furthest rung of a trial with a
        value. Their values are from fewer epochs, so none of them can be the best."""
        valued = self.rungs[np.isfinite(self.scores)]
        return self.rungs < (valued.max() if valued.size else -np.inf)

    @cached_property
    def settings(self) -> list[Flat]:
        """Each trial's configuration under dotted keys."""
        return [flatten(record.config) for record in self.records]

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Keys that differ between trials, except the seed of repeats, in the configurations' order.

        The digest of a file that another key names is left out, because it adds no information.
        """
        keys = dict.fromkeys(key for settings in self.settings for key in settings)
        found = tuple(key for key in keys if key != self.seed_key and self._differs(key))
        others = tuple(key for key in found if key.rpartition(".")[2] != "sha256")
        return others if self._told_apart(others) == self._told_apart(found) else found

    @cached_property
    def names(self) -> dict[str, str]:
        """A short name for each varying key: its last part, if no other key has the same last part."""
        last = {key: key.rpartition(".")[2] for key in self.varying}
        count = Counter(last.values())
        return {key: key if count[name] > 1 or name in _BARE else name for key, name in last.items()}

    @cached_property
    def repeats(self) -> list[tuple[int, ...]]:
        """Indices of trials that differ only in their seed, grouped, in the order first requested."""
        members: dict[Hashable, list[int]] = defaultdict(list)
        for place, settings in enumerate(self.settings):
            # What does not vary cannot tell two apart.
            key = tuple((k, frozen(settings[k])) for k in self.varying if k in settings)
            members[key].append(place)
        return [tuple(places) for places in members.values()]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of trials by status, without statuses that no trial has."""
        found = Counter(record.status for record in self.records)
        return {status: found[status] for status in STATUSES if found[status]}

    def label(self, place: int) -> str:
        """A label made from a trial's varying settings: `learning_rate=0.01 optimizer=adam`; the trial's id
        if there are none."""
        ours = [key for key in self.varying if self.settings[place].get(key, None) is not None]
        parts = [f"{self.names[key]}={self.text(place, key)}" for key in ours[:MAX_FIELDS]]
        return " ".join([*parts, "…"] if len(ours) > MAX_FIELDS else parts) or self.records[place].id

    def text(self, place: int, key: str) -> str:
        """A trial's setting as text: short, or whole if another setting has the same short form."""
        settings = self.settings[place]
        return setting(settings[key], whole=key in self._alike) if key in settings else NOT_SET

    @cached_property
    def _alike(self) -> frozenset[str]:
        """Varying keys that have two values with the same short form."""
        return frozenset(key for key in self.varying if reads_alike(key, self.settings))

    def _told_apart(self, keys: Sequence[str]) -> int:
        """Number of different trials if only these keys are compared."""
        return len({tuple(frozen(s.get(key, ABSENT)) for key in keys) for s in self.settings})

    def _differs(self, key: str) -> bool:
        first = frozen(self.settings[0].get(key, ABSENT))
        return any(frozen(settings.get(key, ABSENT)) != first for settings in self.settings)


def value_of(record: Record, metric: str) -> float | None:
    """The value that a trial is judged by: its figure, if the trial finished and the figure is finite; else
    None."""
    return number(record.figures, metric) if has_finished(record) else None


def has_finished(record: Record) -> bool:
    """Return whether a trial ran to its end with finite numbers."""
    return record.status in ("ok", "flagged")
