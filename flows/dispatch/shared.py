"""Batches with trials that another sweep is running.

They are put aside, and taken up again when the other sweep releases the trials.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from sweepflow.flows.dispatch.blame import Suspect
from sweepflow.storage.leases import Leases

LEAST_PATIENCE_SECONDS = 10.0
"""Minimum time to wait for another sweep."""
LOOK_SECONDS = 1.0
"""Minimum time between two looks at the trials that other sweeps run."""
LOOKED_FOR = 20.0
"""Minimum time between two looks, as a multiple of the duration of a look. It is longer for many trials, or
on a slow file system."""


@dataclass
class Aside:
    """Trials that another sweep runs.

    Attributes:
        suspect: Their batch.
        idle_since: Time on the monotonic clock since which this sweep has nothing else to do; None while it
            has other work.
    """

    suspect: Suspect
    idle_since: float | None = None


class Shared:
    """The part of its batches that this sweep runs, and the part that it leaves to other sweeps.

    This sweep waits for others no longer than one of its own batches of the same program has taken. So it is
    at most twice as late as if it had known which way is quicker. If it has run no such batch, it waits while
    the other sweeps show signs of life.

    Args:
        leases: Leases of this sweep; None if there can be no other sweep.
    """

    def __init__(self, leases: Leases | None) -> None:
        self._leases = leases
        self._aside: list[Aside] = []
        self._seconds: dict[str, float] = {}
        self._impatient: set[str] = set()
        self.owners: set[str] = set()
        self._look_at = -math.inf

    def __len__(self) -> int:
        """Return the number of batches that are put aside."""
        return len(self._aside)

    def take(self, suspect: Suspect) -> Suspect | None:
        """Return the part of a batch that is to run here now, or None if it is empty; put the rest aside."""
        if self._leases is None:
            return suspect
        ids = suspect.unit.ids
        mine = self._leases.take(ids) | (ids & self._impatient)
        if mine != ids:
            self._aside.append(Aside(_part(suspect, ids - mine)))
        return _part(suspect, mine) if mine else None

    def release(self, suspect: Suspect) -> None:
        """Release the trials of a batch that no longer runs here."""
        if self._leases is not None:
            self._leases.release(suspect.unit.ids)

    def took(self, label: str, seconds: float) -> None:
        """Note that a batch of a group has run to its end, and the seconds that it took."""
        self._seconds[label] = max(seconds, self._seconds.get(label, 0.0))

    def let_go(self, idle: bool) -> list[Suspect]:
        """Return the trials that others no longer run, done or not, and those waited for too long.

        Args:
            idle: Whether this sweep has nothing else to do.
        """
        now = time.monotonic()
        if self._leases is None or now < self._look_at:
            return []
        aside, self._aside, self.owners = self._aside, [], set()
        every = self._leases.others({i for one in aside for i in one.suspect.unit.ids}) if aside else {}
        # There may be an event for every batch, and a link for every trial.
        self._look_at = time.monotonic() + max(LOOK_SECONDS, LOOKED_FOR * (time.monotonic() - now))
        found = []
        for one in aside:
            ids = one.suspect.unit.ids
            others = {i: every[i] for i in ids & every.keys()}
            one.idle_since = (one.idle_since or now) if idle else None
            patience = max(LEAST_PATIENCE_SECONDS, self._seconds.get(one.suspect.unit.batch.label, math.inf))
            if one.idle_since is not None and now - one.idle_since > patience:
                self._impatient |= others.keys()
                others = {}
            if others:
                self.owners |= {*others.values()}
                self._aside.append(replace(one, suspect=_part(one.suspect, others.keys())))
            if ids - others.keys():
                found.append(_part(one.suspect, ids - others.keys()))
        return found


def _part(suspect: Suspect, ids: Collection[str]) -> Suspect:
    unit = suspect.unit
    return (
        suspect if unit.ids == set(ids) else replace(suspect, unit=replace(unit, batch=unit.batch.part(ids)))
    )
