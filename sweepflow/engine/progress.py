"""Progress of the trials of a batch: read from their checkpoints, and saved while a run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from sweepflow.engine.program import Leaves, Program
from sweepflow.engine.segments import Progress
from sweepflow.engine.workload import C, Trial, Workload
from sweepflow.fingerprint import canonical_json
from sweepflow.provenance import provenance
from sweepflow.storage.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from sweepflow.storage.store import Store


def identity(workload: Workload[C], config: C, program: Program) -> str:
    """Return a digest of all that must be the same, beside the fingerprint, for a trial's result to have the
    same bits.

    A machine of another kind rounds differently, but it may still continue a run: a cluster has several
    kinds.
    """
    payload = {
        "workload": [workload.name, workload.version],
        "program": workload.program_key(config),
        "width": program.layout.width,
        "platform": program.sharded.mesh.devices.flat[0].platform,
        "versions": provenance(device=False)["versions"],
        "state": [[like.dtype.name, list(like.shape[1:])] for like in program.state],
    }
    return hashlib.sha256(canonical_json(payload).encode()).hexdigest()


def read_progress(
    workload: Workload[C], trials: Sequence[Trial[C]], store: Store, program: Program
) -> list[tuple[list[int], Progress]]:
    """Group the trials of a batch by their progress.

    Each group has the numbers of the trials that run together, and the progress from which they start.
    """
    if workload.segmented is None:
        return [([*range(len(trials))], Progress(0, 1, [0.0] * len(trials)))]
    own = identity(workload, trials[0].config, program)
    found: dict[tuple[int, int], list[tuple[int, float, Sequence[np.ndarray]]]] = {}
    for number, trial in enumerate(trials):
        of = workload.segmented.points(trial.config)
        checkpoint = read_checkpoint(store, trial.id, own, of)
        if checkpoint is not None:
            done, seconds, state = checkpoint.done, checkpoint.seconds, checkpoint.state
        else:
            (done, state), seconds = workload.segmented.kept(trial, store) or (0, []), 0.0
        found.setdefault((done, of), []).append((number, seconds, state))
    parts = []
    for (done, of), members in found.items():
        numbers, seconds_each, states = zip(*members, strict=True)
        leaves = [np.concatenate(parts) for parts in zip(*states, strict=True)] if done else None
        parts.append(([*numbers], Progress(done, of, seconds_each, leaves)))
    return parts


def checkpoint_writer(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    store: Store,
    program: Program,
    progress: Progress,
) -> Callable[[Leaves, int, float], None]:
    """Return the function with which `run_segments` saves a batch's state, one checkpoint for each trial.

    Args:
        workload, trials, store, program: Those of the run.
        progress: Progress at which the run began.
    """
    own = identity(workload, trials[0].config, program)
    lanes, of = workload.lanes(trials[0].config), workload.points(trials[0].config)
    held = program.layout.rows(lanes * len(trials))

    def keep(state: Leaves, done: int, spent: float) -> None:
        leaves = [np.asarray(leaf)[held] for leaf in jax.device_get(state)]
        for row, (trial, before) in enumerate(zip(trials, progress.seconds, strict=True)):
            rows = slice(row * lanes, (row + 1) * lanes)
            share = before + spent / len(trials)
            kept = [leaf[rows] for leaf in leaves]
            write_checkpoint(store, Checkpoint(trial.id, own, done, of, share, kept))

    return keep
