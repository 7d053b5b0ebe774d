"""Text cut to a length, between words where it can be."""

from __future__ import annotations

NEARBY = 20
"""Characters that are given up, at most, so as not to cut within a word; of a short text a quarter of it."""


def shortened(text: str, most: int, tail: int = 0) -> str:
    """A text in a number of characters, with an ellipsis for what is left out.

    >>> shortened("the quick brown fox jumps", 18)
    'the quick brown …'
    >>> shortened("the quick brown fox jumps over the lazy dog", 28, tail=14)
    'the quick … the lazy dog'

    Args:
        text: The text.
        most: Characters of what is returned, at most.
        tail: How many of them may be those that the text ends with.
    """
    if len(text) <= most:
        return text
    if tail:
        return f"{_beginning(text, most - tail - 3)} … {_beginning(text[::-1], tail)[::-1]}"
    head = _beginning(text, most - 2)
    return f"{head} …" if text[len(head)].isspace() else f"{text[: most - 1]}…"


def _beginning(text: str, room: int) -> str:
    """The beginning of a longer text, without a word that would be cut, unless it is a long one."""
    least = room - min(NEARBY, room // 4)
    return text[: next((place for place in range(room, least - 1, -1) if text[place].isspace()), room)]
