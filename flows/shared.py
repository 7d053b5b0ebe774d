"""Batches of which another sweep runs trials just now: put aside, and taken up when it lets go of them."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

from sweepflow.flows.suspects import Suspect
from sweepflow.storage.leases import Leases

LEAST_PATIENCE_SECONDS = 10.0
"""Shortest time that another sweep is waited for."""
LOOK_SECONDS = 1.0
"""From one look at what others run to the next, at least."""
LOOKED_FOR = 20.0
"""From one to the next, in times of what it took: for many trials, or on a slow file system, it is longer."""


@dataclass
class Aside:
    """Trials that another sweep runs.

    Attributes:
        suspect: Their batch.
        idle_since: When this sweep had nothing else to do, on the monotonic clock; None while it has.
    """

    suspect: Suspect
    idle_since: float | None = None


class Shared:
    """What this sweep runs of its batches, and what it leaves to others.

    It waits for them no longer than a batch of the same program has taken itself: so it is at most twice as
    late as if it had known which is quicker. Where it has run none, it waits while they show signs of life.

    Args:
        leases: This sweep's; None where there can be no other.
    """

    def __init__(self, leases: Leases | None) -> None:
        self._leases = leases
        self._aside: list[Aside] = []
        self._seconds: dict[str, float] = {}
        self._impatient: set[str] = set()
        self.owners: set[str] = set()
        self._look_at = -math.inf

    def __len__(self) -> int:
        """Batches that are aside."""
        return len(self._aside)

    def take(self, suspect: Suspect) -> Suspect | None:
        """What of a batch is to be run here, and now; the rest is put aside."""
        if self._leases is None:
            return suspect
        ids = suspect.job.ids
        mine = self._leases.take(ids) | (ids & self._impatient)
        if mine != ids:
            self._aside.append(Aside(_part(suspect, ids - mine)))
        return _part(suspect, mine) if mine else None

    def release(self, suspect: Suspect) -> None:
        """A batch does not run here any more."""
        if self._leases is not None:
            self._leases.release(suspect.job.ids)

    def took(self, label: str, seconds: float) -> None:
        """A batch of a group has run to its end, in so many seconds."""
        self._seconds[label] = max(seconds, self._seconds.get(label, 0.0))

    def let_go(self, idle: bool) -> list[Suspect]:
        """What others do not run any more, be it done or not, and what they have been waited for too long.

        Args:
            idle: Whether this sweep has nothing else to do.
        """
        now = time.monotonic()
        if self._leases is None or now < self._look_at:
            return []
        aside, self._aside, self.owners = self._aside, [], set()
        every = self._leases.others({i for one in aside for i in one.suspect.job.ids}) if aside else {}
        # There may be an event for every batch, and a link for every trial.
        self._look_at = time.monotonic() + max(LOOK_SECONDS, LOOKED_FOR * (time.monotonic() - now))
        found = []
        for one in aside:
            ids = one.suspect.job.ids
            others = {i: every[i] for i in ids & every.keys()}
            one.idle_since = (one.idle_since or now) if idle else None
            patience = max(LEAST_PATIENCE_SECONDS, self._seconds.get(one.suspect.job.batch.label, math.inf))
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
    job = suspect.job
    return suspect if job.ids == set(ids) else replace(suspect, job=replace(job, batch=job.batch.part(ids)))
