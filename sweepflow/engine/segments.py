"""A long run in segments: how long a call of the program is, and when the state is written down.

A call runs so many points that it takes `Pace.call_seconds`, by the time that the points before it took;
the first, which measures, is a single point. Between calls the process can be told to stop, can leave
before its walltime, and writes checkpoints, seldom enough to cost no more than a fiftieth of its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sweepflow.engine.program import Leaves, Placed, Program

CHECKPOINT_SHARE = 0.02
"""Most of a process's time that goes into checkpoints."""
ASSUMED_BYTES_PER_SECOND = 20e6
"""How fast a checkpoint is written, as long as none has been: a slow network file system."""
MOST_GROWTH = 64
"""How many times longer than the one before a call may be: the points that were measured may have been
cheap ones."""
RESERVE = 1.5
"""A call is expected to take at most so many times what the one before says."""


class CutError(Exception):
    """A run was cut before its last point; what it has is in its checkpoints, and can be gone on with.

    Attributes:
        done: Points that are done.
        of: Points of the run.
        advanced: Points among them that this process has run.
    """

    def __init__(self, why: str, done: int, of: int, advanced: int) -> None:
        super().__init__(why, done, of, advanced)
        self.why, self.done, self.of, self.advanced = why, done, of, advanced

    def __str__(self) -> str:
        return f"{self.why} at point {self.done} of {self.of}"


class StoppedError(CutError):
    """The process was told to stop, and the state is written down."""


class LeavingError(CutError):
    """The process has to be gone before another call could end."""


@dataclass(frozen=True)
class Pace:
    """When a run is cut.

    Attributes:
        leave_at: Unix time at which this process has to be gone; None where it may stay.
        call_seconds: What one call of the program is to take: so soon a wish to stop, and progress, is seen.
        checkpoint_seconds: Least time between two checkpoints.
        stop: Asked between calls; whether to write a checkpoint and raise StoppedError.
        on_points: Told after each call how many points are done, and of how many.
    """

    leave_at: float | None = None
    call_seconds: float = 2.0
    checkpoint_seconds: float = 60.0
    stop: Callable[[], bool] | None = None
    on_points: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Progress:
    """How far the trials of a batch are.

    Attributes:
        done: Points that are done.
        of: The point at which results are wanted.
        seconds: Each trial's share of what those took.
        state: Leaves of the state with a row a lane, without padding; None at the beginning.
    """

    done: int
    of: int
    seconds: Sequence[float] = ()
    state: Sequence[np.ndarray] | None = None


@dataclass
class Written:
    """When a run's state was last written down, or taken up.

    Attributes:
        done: Points that were done then.
        at: Seconds of `time.perf_counter`.
        begun: Points that were done when this process took the run up.
    """

    done: int
    at: float
    begun: int


def next_points(last: int, last_seconds: float, left: int, call_seconds: float) -> int:
    """Points of the next call.

    Args:
        last: Points of the call before; 0 where there was none.
        last_seconds: What that took.
        left: Points that are left.
        call_seconds: What the next is to take.
    """
    if last == 0:
        return min(1, left)
    fitting = int(call_seconds * last / max(last_seconds, 1e-9))
    return min(left, max(1, min(fitting, MOST_GROWTH * last)))


def is_checkpoint_due(since_last: float, cost: float, least: float) -> bool:
    """Whether to write one now.

    Args:
        since_last: Seconds since the last, or since the run was taken up.
        cost: Seconds that writing one takes.
        least: Seconds that have to lie between two in any case.
    """
    return since_last >= max(least, cost / CHECKPOINT_SHARE)


def has_to_leave(now: float, leave_at: float | None, call: float, cost: float) -> bool:
    """Whether another call, and the checkpoint after it, would end too late.

    Args:
        now, leave_at: Unix times; None for never.
        call: Seconds that the next call is expected to take.
        cost: Seconds that writing a checkpoint takes.
    """
    return leave_at is not None and now + RESERVE * (call + cost) > leave_at


def run_segments(
    program: Program,
    placed: Placed,
    progress: Progress,
    pace: Pace,
    keep: Callable[[Leaves, int, float], None],
    written: Written | None = None,
) -> tuple[Leaves, Any]:
    """Run a batch from where it is to where its results are wanted.

    Args:
        program: The group's.
        placed: The run's arguments, as `program.place` gives them.
        progress: Where it is.
        pace: When to cut it.
        keep: Writes a checkpoint: the state's leaves, the points that are done, and the seconds that this
            process has spent on it.
        written: When that was last done, which this run changes; now where it is not given.

    Returns:
        The last state's leaves, on the devices, and the results.

    Raises:
        StoppedError, LeavingError: once the state is written down.
    """
    started = time.perf_counter()
    written = written or Written(progress.done, started, progress.done)
    done = progress.done
    state = program.place_state(progress.state)
    cost = sum(leaf.nbytes for leaf in state) / ASSUMED_BYTES_PER_SECOND
    last, last_seconds = 0, 0.0

    def save() -> None:
        nonlocal cost
        before = time.perf_counter()
        keep(state, done, before - started)
        written.done, written.at = done, time.perf_counter()
        cost = written.at - before

    def cut(kind: type[CutError], why: str) -> CutError:
        if done > written.done:
            save()
        return kind(why, done, progress.of, done - written.begun)

    if done == progress.of:  # taken up where it is to be asked whether it goes on
        state, results = program(placed, state, (done, done, done))
        return state, jax.device_get(results)
    while True:
        count = next_points(last, last_seconds, progress.of - done, pace.call_seconds)
        each = last_seconds / last if last else sum(progress.seconds) / max(progress.done, 1)
        if pace.stop is not None and pace.stop():
            raise cut(StoppedError, "stopped")
        if has_to_leave(time.time(), pace.leave_at, count * each, cost):
            raise cut(LeavingError, "left before the walltime")
        before = time.perf_counter()
        state, results = program(placed, state, (done, done + count, progress.of))
        last, last_seconds = count, time.perf_counter() - before
        done += count
        if pace.on_points is not None:
            pace.on_points(done, progress.of)
        if done == progress.of:
            return state, jax.device_get(results)
        if is_checkpoint_due(time.perf_counter() - written.at, cost, pace.checkpoint_seconds):
            save()
