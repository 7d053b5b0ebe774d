"""A table with notes under it, each on its own line."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text


class NotedTable(Table):
    """A borderless table for a terminal. Its notes are as wide as the terminal, but a caption of rich is
    wrapped and padded to the width of the table.

    Attributes:
        notes: Notes as plain text, one line each.
    """

    def __init__(self) -> None:
        super().__init__(box=None, pad_edge=False, header_style="bold")
        self.notes: list[str] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the table, then the notes."""
        yield from super().__rich_console__(console, options)
        yield from self._lines()

    def _lines(self) -> Iterator[Text]:
        return (Text(note) for note in self.notes)
