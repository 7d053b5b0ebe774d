"""Leases of trials that are running, with their owners: two sweeps at once share the work instead of doing it
twice.

A lease is a symbolic link: its name is the trial's id, and its target is the owner's name. So a lease is made
and read in one step, also on network file systems, and is never incomplete. A lease is not a lock: it says
who runs the trial, not who is allowed to. A lease whose owner is dead has no effect.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from sweepflow.storage.store import Store

TRIES = 5
"""Number of tries to take a trial whose lease appears and disappears meanwhile."""


class Leases:
    """The leases of one owner; for one thread.

    Args:
        store: Store of the trials' records.
        owner: Owner of the leases: the id of a flow run.
        is_alive: Function that says whether an owner is alive.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> mine, theirs = (Leases(store, owner, lambda _: True) for owner in ("one", "two"))
        >>> sorted(mine.take({"trl_0000000000000001"}))
        ['trl_0000000000000001']
        >>> theirs.take({"trl_0000000000000001"})
        set()
        >>> theirs.others({"trl_0000000000000001"})
        {'trl_0000000000000001': 'one'}
        >>> mine.release({"trl_0000000000000001"})
        >>> sorted(theirs.take({"trl_0000000000000001"}))
        ['trl_0000000000000001']
    """

    def __init__(self, store: Store, owner: str, is_alive: Callable[[str], bool]) -> None:
        self._store, self._owner, self._is_alive = store, owner, is_alive
        self._held: set[str] = set()

    def take(self, trial_ids: Collection[str]) -> set[str]:
        """Take trials that no living owner runs.

        Args:
            trial_ids: Ids of the wanted trials.

        Returns:
            Ids of the wanted trials that this owner has now, including those that it had before.
        """
        dead: dict[str, bool] = {}
        mine = {trial_id for trial_id in trial_ids if self._take(trial_id, dead)}
        self._held |= mine
        return mine

    def _take(self, trial_id: str, dead: dict[str, bool]) -> bool:
        path = self._store.paths.lease(trial_id)
        for _ in range(TRIES):
            owner = self._link(path)
            if owner == self._owner:
                return True
            if owner is None or (self._is_dead(owner, dead) and self._take_over(path, owner, dead)):
                continue  # it comes and goes, or is this owner's now
            return False
        # A file system without links; or a store that cannot be written, as whoever writes a record there
        # will say. Without leases a trial may be run twice, and nothing worse.
        return True

    def _link(self, path: Path) -> str | None:
        """Make a lease if there is none. Return the owner of the lease, or None if it is not known."""
        try:
            os.symlink(self._owner, path)
        except FileNotFoundError:
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            return _owner(path)
        except OSError:
            return None
        else:
            return self._owner
        return None

    def _take_over(self, path: Path, owner: str, dead: dict[str, bool]) -> bool:
        """Replace a dead owner's lease; False if another owner is about to replace it.

        Replacing needs a lease of its own. Otherwise, with three owners at once, the third one might take the
        lease from the first one, which has just taken it from the dead owner.
        """
        successor = path.with_name(f"{path.name}.next")
        who = self._link(successor)
        if who is not None and who != self._owner:
            if not self._is_dead(who, dead):
                return False
            forget(successor, who)
            return True
        with suppress(OSError):
            if _owner(path) == owner:
                os.replace(successor, path)
            else:
                successor.unlink()
        return True

    def _is_dead(self, owner: str, dead: dict[str, bool]) -> bool:
        if owner not in dead:
            dead[owner] = not self._is_alive(owner)
        return dead[owner]

    def others(self, trial_ids: Collection[str]) -> dict[str, str]:
        """The living other owners of these trials, by trial."""
        owners = {i: owner for i in trial_ids if (owner := _owner(self._store.paths.lease(i)))}
        alive = {owner: self._is_alive(owner) for owner in {*owners.values()} - {self._owner}}
        return {i: owner for i, owner in owners.items() if alive.get(owner, False)}

    def release(self, trial_ids: Collection[str] | None = None) -> None:
        """Release trials, or all held trials if none are given. Leases that this owner does not hold stay."""
        for trial_id in self._held & set(self._held if trial_ids is None else trial_ids):
            path = self._store.paths.lease(trial_id)
            forget(path, self._owner)  # unless this owner was taken for dead, and it is another's
            self._held.discard(trial_id)


def leases_by_owner(store: Store) -> dict[str, list[Path]]:
    """All leases, by owner."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in store.paths.leases.glob("??/*"):
        if (owner := _owner(path)) is not None:
            found[owner].append(path)
    return dict(found)


def forget(path: Path, owner: str) -> None:
    """Remove an owner's lease, unless it now belongs to another owner."""
    if _owner(path) == owner:
        with suppress(OSError):
            path.unlink()


def _owner(path: Path) -> str | None:
    """The owner of a lease; None if there is no lease, and an empty string if it cannot be read as a link."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
