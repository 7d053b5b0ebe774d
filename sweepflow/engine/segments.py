"""A long run in segments: the length of each call of the program, and the times at which the state is saved.

A call runs as many points as should take `Pace.call_seconds`, estimated from the time of the points before
it. The first call is a single point, which measures the time. Between calls the process can be told to stop,
can leave before its walltime, and writes checkpoints. Checkpoints are rare enough to cost no more than a
fiftieth of the process's time.
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
"""Maximum share of a process's time that goes into checkpoints."""
ASSUMED_BYTES_PER_SECOND = 20e6
"""Speed of writing a checkpoint that is assumed until one has been written: a slow network file system."""
MOST_GROWTH = 64
"""Maximum factor by which a call may be longer than the call before it: the points that were measured may
have been cheap ones."""
RESERVE = 1.5
"""Safety factor: a call is expected to take at most this many times the time that the call before it
suggests."""


class CutError(Exception):
    """A run was cut before its last point; its state is in its checkpoints, and it can be continued from
    there.

    Attributes:
        done: Number of points that are done.
        of: Number of points of the run.
        advanced: Number of points among them that this process has run.
    """

    def __init__(self, why: str, done: int, of: int, advanced: int) -> None:
        super().__init__(why, done, of, advanced)
        self.why, self.done, self.of, self.advanced = why, done, of, advanced

    def __str__(self) -> str:
        return f"{self.why} at point {self.done} of {self.of}"


class StoppedError(CutError):
    """The process was told to stop, and the state is saved."""


class LeavingError(CutError):
    """The process has to exit before another call could end."""


@dataclass(frozen=True)
class Pace:
    """The rules by which a run is cut.

    Attributes:
        leave_at: Unix time by which this process has to exit; None if it may stay.
        call_seconds: Duration that one call of the program should have. A request to stop, and progress, are
            seen after that time.
        checkpoint_seconds: Minimum time between two checkpoints.
        stop: Called between calls; returns whether to write a checkpoint and raise StoppedError.
        on_points: Called after each call with the number of points that are done and the number of all
            points.
    """

    leave_at: float | None = None
    call_seconds: float = 2.0
    checkpoint_seconds: float = 60.0
    stop: Callable[[], bool] | None = None
    on_points: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of the trials of a batch.

    Attributes:
        done: Points that are done.
        of: The point at which results are wanted.
        seconds: Each trial's share of the seconds that these points took.
        state: Leaves of the state with one row for each lane, without padding; None at the beginning.
    """

    done: int
    of: int
    seconds: Sequence[float] = ()
    state: Sequence[np.ndarray] | None = None


@dataclass
class Written:
    """The time and point at which a run's state was last saved, or taken up.

    Attributes:
        done: Number of points that were done then.
        at: Seconds of `time.perf_counter`.
        begun: Number of points that were done when this process took up the run.
    """

    done: int
    at: float
    begun: int


def next_points(last: int, last_seconds: float, left: int, call_seconds: float) -> int:
    """Return the number of points of the next call.

    Args:
        last: Number of points of the call before; 0 if there was none.
        last_seconds: Seconds that the call before took.
        left: Number of points that are left.
        call_seconds: Seconds that the next call should take.
    """
    if last == 0:
        return min(1, left)
    fitting = int(call_seconds * last / max(last_seconds, 1e-9))
    return min(left, max(1, min(fitting, MOST_GROWTH * last)))


def is_checkpoint_due(since_last: float, cost: float, least: float) -> bool:
    """Return whether to write a checkpoint now.

    Args:
        since_last: Seconds since the last checkpoint, or since the run was taken up.
        cost: Seconds that it takes to write a checkpoint.
        least: Minimum number of seconds between two checkpoints.
    """
    return since_last >= max(least, cost / CHECKPOINT_SHARE)


def has_to_leave(now: float, leave_at: float | None, call: float, cost: float) -> bool:
    """Return whether another call, and the checkpoint after it, would end too late.

    Args:
        now, leave_at: Unix times; `leave_at` is None if the process never has to exit.
        call: Seconds that the next call is expected to take.
        cost: Seconds that it takes to write a checkpoint.
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
    """Run a batch from its current point to the point at which its results are wanted.

    Args:
        program: Program of the group.
        placed: The run's arguments, as `program.place` gives them.
        progress: Current progress of the batch.
        pace: Rules by which the run is cut.
        keep: Writes a checkpoint from the state's leaves, the number of points that are done, and the seconds
            that this process has spent on the run.
        written: Time and point of the last checkpoint, which this run changes; the current ones if not given.

    Returns:
        The last state's leaves, on the devices, and the results.

    Raises:
        StoppedError, LeavingError: once the state is saved.
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
