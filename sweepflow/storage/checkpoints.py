"""Checkpoints of unfinished trials: one file for each trial, written to a temporary file that is renamed, and
removed once there is a record.

A checkpoint only saves time. A checkpoint that is torn, was made by other code or by another program, or
belongs to another trial, is ignored with a warning, and the trial starts from the beginning.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sweepflow.errors import StoreError
from sweepflow.storage.atomic import read_bytes, write_bytes
from sweepflow.storage.store import TRIAL_ID, Store

FORMAT = "1"
OLD_DAYS = 30.0
"""Days since the last write after which a checkpoint is stale."""
HEAD = "head"
"""The safetensors metadata entry with everything except the arrays, as JSON."""


class CheckpointWarning(UserWarning):
    """A checkpoint from which a trial cannot continue."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An unfinished trial.

    Attributes:
        trial_id: The trial's fingerprint.
        identity: Digest of everything that must be the same for a bitwise identical result.
        done: Number of points that are done.
        of: Number of points of the whole run.
        seconds: The trial's share of the time of these points, over all processes.
        state: Leaves of the state, each with a leading axis of the trial's lanes.
    """

    trial_id: str
    identity: str
    done: int
    of: int
    seconds: float
    state: Sequence[np.ndarray]


def write_checkpoint(store: Store, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; it replaces the trial's previous one.

    Raises:
        StoreError: if the store cannot be written.
    """
    leaves = {str(i): np.require(leaf, requirements="C") for i, leaf in enumerate(checkpoint.state)}
    head = {
        "format": FORMAT,
        "trial": checkpoint.trial_id,
        "identity": checkpoint.identity,
        "done": checkpoint.done,
        "of": checkpoint.of,
        "seconds": checkpoint.seconds,
        "sha256": _digest(list(leaves.values())),
    }
    content = save(leaves, metadata={HEAD: json.dumps(head)})
    write_bytes(store.paths.checkpoint(checkpoint.trial_id), content)


def read_checkpoint(store: Store, trial_id: str, identity: str, of: int) -> Checkpoint | None:
    """Read a trial's checkpoint; None if there is none from which the run can continue.

    Args:
        store: Store of the trial.
        trial_id: The trial's fingerprint.
        identity: Identity of the run that would continue from the checkpoint.
        of: Number of points of that run.

    Raises:
        StoreError: if there is a file that cannot be read.
    """
    path = store.paths.checkpoint(trial_id)
    content = read_bytes(
        path,
        "a checkpoint cannot be read",
        do="mend the permissions, or remove it: the trial then begins at the beginning",
    )
    if content is None:
        return None
    try:
        length = int.from_bytes(content[:8], "little")
        head = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][HEAD])
        arrays = load(content)
        found = Checkpoint(
            trial_id=head["trial"],
            identity=head["identity"],
            done=int(head["done"]),
            of=int(head["of"]),
            seconds=float(head["seconds"]),
            state=[arrays[str(i)] for i in range(len(arrays))],
        )
        whole = head["format"] == FORMAT and head["sha256"] == _digest(found.state)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError):
        return _miss(path, "it is torn, or no checkpoint")
    if not whole or found.trial_id != trial_id:
        return _miss(path, "it is torn, or another trial's")
    if found.identity != identity or found.of != of or not 0 < found.done < of:
        return _miss(path, "another version of the code, or another program, has made it")
    return found


def remove_checkpoint(store: Store, trial_id: str) -> None:
    """Remove a trial's checkpoint, if there is one.

    Raises:
        StoreError: if the file cannot be removed.
    """
    path = store.paths.checkpoint(trial_id)
    try:
        path.unlink(missing_ok=True)
    except NotADirectoryError:
        return
    except OSError as error:
        raise StoreError(
            "a checkpoint cannot be removed", got=f"{path}: {error.strerror}", do="mend the permissions"
        ) from error


def stale_checkpoints(store: Store, older_than_days: float = OLD_DAYS) -> list[Path]:
    """Checkpoints from which no run will continue: the trial has a result, or the file is old or belongs to
    no trial."""
    oldest = time.time() - older_than_days * 24 * 3600
    stale = []
    for path in sorted(store.paths.checkpoints.glob("??/*.safetensors")):
        try:
            old = path.stat().st_mtime < oldest
        except FileNotFoundError:  # its trial has just been finished
            continue
        known = TRIAL_ID.fullmatch(path.stem) and path == store.paths.checkpoint(path.stem)
        if old or not known or store.finished([path.stem]):
            stale.append(path)
    return stale


def _digest(leaves: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for leaf in leaves:
        digest.update(f"{leaf.dtype.str}{leaf.shape}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def _miss(path: Path, why: str) -> Checkpoint | None:
    warnings.warn(f"{path} is passed over: {why}", CheckpointWarning, stacklevel=3)
    return None
