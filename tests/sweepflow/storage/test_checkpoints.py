"""Checkpoints: whole or passed over, and found again when nobody needs them any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from sweepflow.errors import StoreError
from sweepflow.storage.checkpoints import (
    Checkpoint,
    CheckpointWarning,
    read_checkpoint,
    remove_checkpoint,
    stale_checkpoints,
    write_checkpoint,
)
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

ID, OTHER = "est_0123456789abcdef", "trl_fedcba9876543210"
STATE = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([3, -1], np.int64),
    np.array([True, False]),
    np.full((2, 2), np.nan)[:, ::2],
    np.zeros((2, 0)),
]
"""Two lanes; one leaf is not contiguous, one is empty."""


def checkpoint(trial_id: str = ID, **changes: object) -> Checkpoint:
    return replace(Checkpoint(trial_id, "digest", 3, 10, 1.5, STATE), **changes)


def test_what_was_written_is_read(store: Store) -> None:
    write_checkpoint(store, checkpoint())
    write_checkpoint(store, checkpoint(done=4, seconds=2.5))
    found = read_checkpoint(store, ID, "digest", 10)
    assert found is not None
    assert (found.trial_id, found.done, found.of, found.seconds) == (ID, 4, 10, 2.5)
    for leaf, before in zip(found.state, STATE, strict=True):
        assert (leaf.dtype, leaf.shape, leaf.tobytes()) == (before.dtype, before.shape, before.tobytes())
    assert [path.name for path in store.root.rglob("*.*")] == [f"{ID}.safetensors"]
    remove_checkpoint(store, ID)
    remove_checkpoint(store, ID)
    assert read_checkpoint(store, ID, "digest", 10) is None


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "no file of ours": lambda content: save({"0": STATE[0]}),
    "another number": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "noise": lambda content: bytes(range(256)) * 4,
    "no header": lambda content: (2).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_is_torn_is_a_miss(how: str, store: Store) -> None:
    write_checkpoint(store, checkpoint())
    path = store.paths.checkpoint(ID)
    path.write_bytes(SPOILT[how](path.read_bytes()))
    with pytest.warns(CheckpointWarning, match="torn"):
        assert read_checkpoint(store, ID, "digest", 10) is None


def test_what_is_another_runs_is_a_miss(store: Store) -> None:
    write_checkpoint(store, checkpoint())
    for identity, of in (("another", 10), ("digest", 11)):
        with pytest.warns(CheckpointWarning, match="another version"):
            assert read_checkpoint(store, ID, identity, of) is None
    write_checkpoint(store, checkpoint(done=10))
    with pytest.warns(CheckpointWarning, match="another version"):
        assert read_checkpoint(store, ID, "digest", 10) is None
    store.paths.checkpoint(OTHER).parent.mkdir(parents=True)
    os.replace(store.paths.checkpoint(ID), store.paths.checkpoint(OTHER))
    with pytest.warns(CheckpointWarning, match="another trial's"):
        assert read_checkpoint(store, OTHER, "digest", 10) is None


def test_a_file_that_cannot_be_read(store: Store) -> None:
    store.paths.checkpoint(ID).mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read") as caught:
        read_checkpoint(store, ID, "digest", 10)
    assert "begins at the beginning" in str(caught.value)


def test_stale_ones(store: Store) -> None:
    """Of a trial with a result; of one that failed only once it is old; and what is no trial's."""
    assert stale_checkpoints(store) == []
    for trial_id, status in ((ID, "ok"), (OTHER, "failed")):
        store.put(Record(trial_id, "w", 1, status, (), {}, {}))  # type: ignore[arg-type]
        write_checkpoint(store, checkpoint(trial_id))
    foreign = store.paths.checkpoints / "01" / "notes.safetensors"
    foreign.write_bytes(b"")
    assert stale_checkpoints(store) == sorted([store.paths.checkpoint(ID), foreign])
    days_ago = time.time() - 3 * 24 * 3600
    os.utime(store.paths.checkpoint(OTHER), (days_ago, days_ago))
    assert store.paths.checkpoint(OTHER) not in stale_checkpoints(store)
    assert store.paths.checkpoint(OTHER) in stale_checkpoints(store, older_than_days=2.0)
