"""Text for people: cut to a length, between words if possible, and rows of cells in aligned columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NEARBY = 20
"""Maximum number of characters that are given up to avoid a cut within a word; for a short text, a quarter of
its length."""


def shortened(text: str, most: int, tail: int = 0) -> str:
    """Shorten a text to a number of characters, with an ellipsis for the part that is left out.

    >>> shortened("the quick brown fox jumps", 18)
    'the quick brown …'
    >>> shortened("the quick brown fox jumps over the lazy dog", 28, tail=14)
    'the quick … the lazy dog'

    Args:
        text: The text.
        most: Maximum number of characters of the result.
        tail: Maximum number of these characters that come from the end of the text.
    """
    if len(text) <= most:
        return text
    if tail:
        return f"{_beginning(text, most - tail - 3)} … {_beginning(text[::-1], tail)[::-1]}"
    head = _beginning(text, most - 2)
    return f"{head} …" if text[len(head)].isspace() else f"{text[: most - 1]}…"


def _beginning(text: str, room: int) -> str:
    """Return the beginning of a longer text, without a word that would be cut, unless the word is long."""
    least = room - min(NEARBY, room // 4)
    return text[: next((place for place in range(room, least - 1, -1) if text[place].isspace()), room)]


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines with aligned columns; no cell is wrapped, and no line breaks are kept.

    >>> aligned([("id", "loss"), ("trl_1", "0.5")])
    ['id     loss', 'trl_1  0.5']
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
