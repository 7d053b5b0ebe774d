"""The trials of one sweep, as every table and chart reads them."""

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
"""Settings in a trial's label."""

_BARE = frozenset({"kind", "name", "path"})
"""Last parts of a key that say nothing without its first."""


@dataclass(frozen=True, eq=False)
class TrialsView:
    """The trials of one sweep, what they are judged by, and what varies among them.

    A trial has a value where it finished (`ok` or `flagged`) and its figure is a finite number.

    Attributes:
        records: In the order in which they were asked for.
        metric: The name of the figure that trials are judged by.
        goal: Whether less of it is better, or more.
        log_keys: Dotted keys that were drawn on a log scale.
        groups: The label of each trial's static group (compiled program), by trial id.
        seed_key: The dotted key over which repeats of a configuration run; None where there is none.
        guessed: Whether only the metric's name says what the goal is.
        asked: How many repeats were asked for of a trial's configuration, by trial id, where several were:
            some may have no record, because they have not run yet or were removed.

    Raises:
        ConfigError: where the goal is unknown, or trials finished and none has the figure.
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
        """1 where less is better, -1 where more is: sign times a value is always to be minimised."""
        return Aim(self.metric, self.goal, self.guessed).sign

    @property
    def better(self) -> str:
        """Which values are good, in words."""
        return Aim(self.metric, self.goal, self.guessed).better

    @cached_property
    def values(self) -> Float[np.ndarray, " trials"]:
        """The metric of each trial, NaN where it has no value."""
        found = (value_of(record, self.metric) for record in self.records)
        return np.array([np.nan if v is None else v for v in found], dtype=np.float64)

    @cached_property
    def scores(self) -> Float[np.ndarray, " trials"]:
        """The metric turned so that less is better; NaN where there is no value."""
        return self.sign * self.values

    @cached_property
    def by_merit(self) -> Int[np.ndarray, " valued"]:
        """Places of the trials with a value by their metric alone, equals in the order asked for.

        The best of a sweep is not always the first: `configurations.best` says which it is.
        """
        order = np.argsort(self.scores, kind="stable")
        return order[: int(np.isfinite(self.scores).sum())]

    @cached_property
    def lost(self) -> Int[np.ndarray, " lost"]:
        """Places of the trials without a value."""
        return np.flatnonzero(~np.isfinite(self.scores))

    @cached_property
    def rungs(self) -> Float[np.ndarray, " trials"]:
        """The rung up to which halving let each trial go; 0 where there was none."""
        return np.array([number(r.figures, "rung") or 0.0 for r in self.records], dtype=np.float64)

    @cached_property
    def stopped(self) -> Bool[np.ndarray, " trials"]:
        """Which trials halving stopped at an earlier rung than the furthest that a trial with a value has
        reached: their values are of fewer epochs, so that none of them can be the best."""
        valued = self.rungs[np.isfinite(self.scores)]
        return self.rungs < (valued.max() if valued.size else -np.inf)

    @cached_property
    def settings(self) -> list[Flat]:
        """Each trial's configuration under dotted keys."""
        return [flatten(record.config) for record in self.records]

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Keys that differ between trials, but for the seed of repeats, in the configurations' order.

        The digest of a file that another key names says nothing more, and is left out.
        """
        keys = dict.fromkeys(key for settings in self.settings for key in settings)
        found = tuple(key for key in keys if key != self.seed_key and self._differs(key))
        others = tuple(key for key in found if key.rpartition(".")[2] != "sha256")
        return others if self._told_apart(others) == self._told_apart(found) else found

    @cached_property
    def names(self) -> dict[str, str]:
        """A short name for each varying key: its last part, where no other ends in the same."""
        last = {key: key.rpartition(".")[2] for key in self.varying}
        count = Counter(last.values())
        return {key: key if count[name] > 1 or name in _BARE else name for key, name in last.items()}

    @cached_property
    def repeats(self) -> list[tuple[int, ...]]:
        """Places of trials that differ in nothing but their seed, in the order first asked for."""
        members: dict[Hashable, list[int]] = defaultdict(list)
        for place, settings in enumerate(self.settings):
            # What does not vary cannot tell two apart.
            key = tuple((k, frozen(settings[k])) for k in self.varying if k in settings)
            members[key].append(place)
        return [tuple(places) for places in members.values()]

    @cached_property
    def counts(self) -> dict[str, int]:
        """Trials by status, without those that no trial has."""
        found = Counter(record.status for record in self.records)
        return {status: found[status] for status in STATUSES if found[status]}

    def label(self, place: int) -> str:
        """A trial by what varies: `learning_rate=0.01 optimizer=adam`; its id where nothing does."""
        ours = [key for key in self.varying if self.settings[place].get(key, None) is not None]
        parts = [f"{self.names[key]}={self.text(place, key)}" for key in ours[:MAX_FIELDS]]
        return " ".join([*parts, "…"] if len(ours) > MAX_FIELDS else parts) or self.records[place].id

    def text(self, place: int, key: str) -> str:
        """A trial's setting as it is shown: short, or whole where another trial's would read the same."""
        settings = self.settings[place]
        return setting(settings[key], whole=key in self._alike) if key in settings else NOT_SET

    @cached_property
    def _alike(self) -> frozenset[str]:
        """Varying keys of which two values have one short form."""
        return frozenset(key for key in self.varying if reads_alike(key, self.settings))

    def _told_apart(self, keys: Sequence[str]) -> int:
        """How many different trials there are to who sees these keys only."""
        return len({tuple(frozen(s.get(key, ABSENT)) for key in keys) for s in self.settings})

    def _differs(self, key: str) -> bool:
        first = frozen(self.settings[0].get(key, ABSENT))
        return any(frozen(settings.get(key, ABSENT)) != first for settings in self.settings)


def value_of(record: Record, metric: str) -> float | None:
    """What a trial is judged by: its figure, where it finished and that is a finite number."""
    return number(record.figures, metric) if has_finished(record) else None


def has_finished(record: Record) -> bool:
    """Whether a trial ran to its end within the finite numbers."""
    return record.status in ("ok", "flagged")
