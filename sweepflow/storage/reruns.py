"""Records that are to be made again: what was asked for, and which of them are still those of before.

A request is one file, written aside and renamed: the trials asked for, and a digest of the record that
each had. A record with that digest is one of before, and no result that a sweep can use; it stays until the
new one takes its place. So whoever goes on with an interrupted rerun, in whichever process, runs what is
left of it, and nothing for a third time; and no clock is asked.
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
        """Trials whose records are still those of before."""
        return {i for i, digest in self.before.items() if _digest(paths, i) == digest}


def ask_again(paths: StorePaths, trial_ids: Collection[str], owner: str) -> None:
    """Ask for trials to be run again, though the store has their records.

    Nothing where this owner has asked before, or an interrupted request for all of them is going on. The
    checkpoints of before are removed.

    Args:
        paths: Of the store.
        trial_ids: What is to be run again; those without a record may be among them.
        owner: Who asks: the id of a flow run, the same where it is resumed.

    Raises:
        StoreError: where the store cannot be written.
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
    """Ask for trials to be run again; for a plan that nobody runs yet, only say what asking would do.

    Args:
        paths: Of the store.
        trial_ids: Everything that a sweep asks for.
        owner: The id of the flow run that asks; None where there is none yet.

    Returns:
        Whether a plan has to take all of them for missing: not where the store tells which are.
    """
    if owner is None:
        return not is_going_on(paths, trial_ids)
    ask_again(paths, trial_ids, owner)
    return False


def is_going_on(paths: StorePaths, trial_ids: Collection[str]) -> bool:
    """Whether an interrupted request for all of these trials has some left."""
    wanted = set(trial_ids)
    return any(wanted <= request.asked and request.left(paths) for request in _requests(paths))


def of_before(paths: StorePaths, trial_ids: Collection[str]) -> set[str]:
    """Trials among these whose records are to be replaced."""
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
