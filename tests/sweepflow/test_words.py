"""Text that is cut to a length keeps whole words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.words import NEARBY, shortened

TEXTS = st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=60).map(" ".join)


@given(TEXTS, st.integers(60, 200), st.sampled_from([0, 25]))
def test_no_word_is_cut_that_ends_nearby(text: str, most: int, tail: int) -> None:
    cut = shortened(text, most, tail)
    assert len(cut) <= most
    if len(text) <= most:
        assert cut == text
        return
    head, _, end = cut.partition("…")
    assert text.startswith(head.rstrip()) and text.endswith(end.lstrip())
    assert bool(end) == bool(tail)
    for word, room in ((head.split()[-1], most - tail - 3), *((word, tail) for word in end.split()[:1])):
        assert word in text.split() or len(word) >= min(NEARBY, room // 4) - 1


@pytest.mark.parametrize("text", ["x" * 300, "a/" * 150, " " * 300])
def test_a_long_word_is_cut(text: str) -> None:
    assert len(shortened(text, 100)) >= 99 and len(shortened(text, 100, 50)) == 100
