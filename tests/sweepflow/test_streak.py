"""When a sweep that only fails is ended: never while anything succeeds in between."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.streak import Streak, alike

ENDS = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e"]), st.sampled_from([None, "no module foo", "no bar 1"])
)


def streak(ends: list[tuple[str, str | None]]) -> Streak:
    return reduce(lambda so_far, end: so_far.after(*end), ends, Streak())


@given(st.lists(ENDS, max_size=30))
def test_it_is_the_calls_since_anything_else_was_said(ends: list[tuple[str, str | None]]) -> None:
    last = ends[-1][1] if ends else None
    tail: set[str] = set()
    for call, failure in reversed(ends):
        if failure is None or failure != last:
            break
        tail.add(call)
    assert len(streak(ends)) == len(tail)


@given(st.integers(2, 12), st.data())
def test_nothing_is_ended_in_which_anything_succeeds_in_between(most: int, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(0, most - 1), max_size=6))
    ends: list[tuple[str, str | None]] = []
    for failures in parts:
        ends += [(f"call {len(ends) + i}", "exit code 1") for i in range(failures)] + [("well", None)]
    longest = max((len(streak(ends[: i + 1])) for i in range(len(ends))), default=0)
    assert longest < most


@given(st.lists(st.integers(), min_size=10, max_size=10, unique=True))
def test_ten_that_say_the_same_are_ten(numbers: list[int]) -> None:
    said = "exit code 1; its log ends: No module named foo ({}), in /tmp/trl_{}/log, line {}"
    assert len(streak([(f"trl_{n}", said.format(n, n, n)) for n in numbers])) == 10


def test_trials_of_one_call_of_a_program_count_once() -> None:
    assert len(streak([("batch 1 of 4", "it does not compile")] * 64)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no module named foo", "no module named bar"),
        ("exit code 1; KeyError: 'x'", "exit code 1; KeyError: 'y'"),
    ],
)
def test_what_differs_in_more_than_numbers_is_another_failure(one: str, other: str) -> None:
    assert alike(one) != alike(other)
