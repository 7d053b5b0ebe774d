"""Requests to run trials again: the requested trials, and which of them still have their old records.

A request is one file, written to a temporary file that is renamed. It contains the requested trials, and a
digest of the record that each had. A record with that digest is an old record, and a sweep cannot use it as a
result; it stays until the new record replaces it. So any process that continues an interrupted rerun runs
only the remaining trials, and runs no trial a third time. No clock is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweepflow.errors import StoreError
from sweepflow.storage.atomic import read_bytes, write_bytes
from sweepflow.storage.paths import StorePaths

CANNOT_BE_TOLD = "what is to be run again cannot be told"
MEND = "mend the permissions, or give another directory with store=DIR"


@dataclass(frozen=True)
class _Request:
    path: Path
    asked: frozenset[str]
    before: Mapping[str, str]

    def left(self, paths: StorePaths) -> set[str]:
        """Trials that still have their old records."""
        return {i for i, digest in self.before.items() if _digest(paths, i) == digest}


def ask_again(paths: StorePaths, trial_ids: Collection[str], owner: str) -> None:
    """Ask for trials to be run again, though the store has their records.

    Do nothing if this owner has asked before, or if an interrupted request for all of them is still in
    progress. Old checkpoints are removed.

    Args:
        paths: Paths of the store.
        trial_ids: Trials to run again; some may have no record.
        owner: Owner of the request: the id of a flow run, which is the same if the flow run is resumed.

    Raises:
        StoreError: if the store cannot be written.
    """
    mine = paths.rerun(owner)
    if mine.is_file() or is_going_on(paths, trial_ids):
        return
    done = [request.path for request in _requests(paths) if not request.left(paths)]
    for path in (*done, *map(paths.checkpoint, trial_ids)):
        try:
            path.unlink(missing_ok=True)
        except NotADirectoryError:
            continue
        except OSError as error:
            raise StoreError(
                "what a rerun does not go on from cannot be removed",
                got=f"{path}: {error.strerror}",
                do="mend the permissions",
            ) from error
    digests = {i: digest for i in trial_ids if (digest := _digest(paths, i)) is not None}
    write_bytes(mine, json.dumps({"asked": sorted(trial_ids), "before": digests}).encode())


def all_again(paths: StorePaths, trial_ids: Collection[str], owner: str | None) -> bool:
    """Ask for trials to be run again. For a plan that is not running yet, only predict the effect.

    Args:
        paths: Paths of the store.
        trial_ids: All trials of a sweep.
        owner: The id of the flow run that asks; None if there is none yet.

    Returns:
        Whether a plan has to count all trials as missing; False if the store knows which ones are missing.
    """
    if owner is None:
        return not is_going_on(paths, trial_ids)
    ask_again(paths, trial_ids, owner)
    return False


def is_going_on(paths: StorePaths, trial_ids: Collection[str]) -> bool:
    """Return whether an interrupted request for all of these trials has remaining trials."""
    wanted = set(trial_ids)
    return any(wanted <= request.asked and request.left(paths) for request in _requests(paths))


def of_before(paths: StorePaths, trial_ids: Collection[str]) -> set[str]:
    """The trials among these whose records are to be replaced."""
    found: set[str] = set()
    for request in _requests(paths):
        asked = request.before.keys() & set(trial_ids)
        found |= {i for i in asked if _digest(paths, i) == request.before[i]}
    return found


def _requests(paths: StorePaths) -> Iterator[_Request]:
    for path in sorted(paths.reruns.glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            yield _Request(path, frozenset(content["asked"]), dict(content["before"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # it is being removed, or is no request
        except OSError as error:
            raise _unreadable(path, error) from error


def _digest(paths: StorePaths, trial_id: str) -> str | None:
    content = read_bytes(paths.record(trial_id), CANNOT_BE_TOLD, MEND)
    return None if content is None else hashlib.sha256(content).hexdigest()[:16]


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(CANNOT_BE_TOLD, got=f"{path}: {error.strerror}", do=MEND)
