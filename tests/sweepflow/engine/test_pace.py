"""The arithmetic of segments: how long a call is, when a checkpoint is written, when to leave."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from sweepflow.engine.segments import (
    MOST_GROWTH,
    RESERVE,
    LeavingError,
    has_to_leave,
    is_checkpoint_due,
    next_points,
)

seconds = st.floats(1e-6, 1e4)


def calls(each: float, points: int, call_seconds: float = 2.0) -> list[int]:
    """Points of every call of a run whose points take `each` seconds, and a call half a millisecond more."""
    found, last, took = [], 0, 0.0
    while sum(found) < points:
        last = next_points(last, took, points - sum(found), call_seconds)
        took = 5e-4 + each * last
        found.append(last)
    return found


def test_a_short_run_is_few_calls_and_a_long_one_calls_of_two_seconds() -> None:
    assert calls(1e-4, 700) == [1, 64, 635]
    assert calls(1e-2, 100) == [1, 64, 35]
    assert calls(1e-3, 6000) == [1, 64, 1984, 1999, 1952]
    assert calls(5.0, 4) == [1, 1, 1, 1]


@given(st.floats(1e-4, 10), st.integers(1, 300))
def test_every_point_is_run_once_and_no_call_is_too_long(each: float, points: int) -> None:
    found = calls(each, points)
    assert sum(found) == points and min(found) >= 1
    assert all(call == 1 or call * each <= 2.0 for call in found)


@given(st.integers(1, 1000), seconds, st.integers(1, 10**9), seconds)
def test_growth_is_bounded(last: int, took: float, left: int, call_seconds: float) -> None:
    assert 1 <= next_points(last, took, left, call_seconds) <= min(left, MOST_GROWTH * last)


@given(st.floats(1e-4, 100), st.floats(0, 600), seconds)
def test_checkpoints_cost_at_most_two_per_cent(cost: float, least: float, call: float) -> None:
    """Of the time of any run that writes them whenever it may, whatever its calls take."""
    clock = spent = since = 0.0
    call = max(call, cost, least / 50)  # a shorter one only asks more often
    for _ in range(5):
        while not is_checkpoint_due(since, cost, least):
            clock, since = clock + call, since + call
        assert since >= least
        clock, spent, since = clock + cost, spent + cost, 0.0
        assert spent <= 0.02 * clock


@given(st.floats(0, 1e9), seconds, seconds, seconds)
def test_leaving_in_time(now: float, room: float, call: float, cost: float) -> None:
    assert not has_to_leave(now, None, call, cost)
    if not has_to_leave(now, now + room, call, cost):
        assert call + cost <= room / RESERVE * (1 + 1e-6) + 1e-6
    assert has_to_leave(now, now - 1.0, 0.0, 0.0)


def test_an_error_reaches_another_process_whole() -> None:
    """Workers send it to the driver."""
    error = pickle.loads(pickle.dumps(LeavingError("left", 3, 10, 2)))
    assert (error.done, error.of, error.advanced, str(error)) == (3, 10, 2, "left at point 3 of 10")
