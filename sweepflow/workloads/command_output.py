"""Output of a program: its `METRIC name=value` lines, and the end of its log."""

from __future__ import annotations

import io
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import IO

METRIC_NAME = re.compile(r"[\w./@%+-]+")
LAST_LINES = 4
LONGEST_LINE = 200
"""Characters of each of the last lines."""
LONGEST_READ = 1 << 20
"""Characters of a line that are read at once; no metric is taken from a longer line."""

_METRICS = re.compile(r"(?<![A-Z_])METRIC\b(.*)")
"""Also after text that was printed without an end of line: `doneMETRIC loss=1`."""
_PAIR = re.compile(
    # The next pair may follow a comma without a space, where it cannot be the rest of a number.
    rf"({METRIC_NAME.pattern})\s*=[ \t]*((?:(?![,;][^\W\d]{METRIC_NAME.pattern[:-1]}*\s*=)[^ \t])*)"
)
_BEHIND = re.compile(r"([.,;]?[)\]}]+)?[.,;]?$")
"""Characters that a sentence may have after a number, and that cannot be part of a number."""
_GROUPS = re.compile(r"[+-]?\d{1,3}([ \t]+\d{3}(?!\d))+")
"""A long number in groups of digits."""
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Output:
    """The content that is taken from a log.

    Attributes:
        metrics: All values of each metric, in the order in which they were printed, including NaN and
            infinity.
        refused: For each metric, the last text in place of a value that is not a number.
        refusals: Number of such texts of each metric.
        last: For each metric that was read or refused, whether its last value was read.
        unread: Last line with the word METRIC that has no `name=value`.
        tail: Last lines that are not blank, cut to LONGEST_LINE.
    """

    metrics: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    last: dict[str, bool] = field(default_factory=dict)
    unread: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


def read_output(log: IO[bytes], *, whole: bool = True) -> Output:
    r"""Read a log from its beginning, and close it.

    A line contains metrics if it has the word METRIC: every `name=value` after the word, whatever text is
    around them. A value is the text up to the next space, without a comma, a full stop or brackets at its
    end. It is a number as Python's `float` reads it, or it is refused. So `1,234.0` is no number, and not 1.
    A carriage return begins a line, so that a progress bar (`\r 40%`) and the text printed after it are
    separate lines. Bytes that are not UTF-8 are replaced.

    Args:
        log: Output of the program.
        whole: Whether the program has ended by itself. Otherwise a last line without an end is incomplete,
            and the rest of its number may be another number: no metric is taken from it.
    """
    output = Output()
    log.seek(0)
    with io.TextIOWrapper(log, encoding="utf-8", errors="replace", newline=None) as text:
        behind = False  # the beginning of a line that is too long
        while line := text.readline(LONGEST_READ):
            ends = line.endswith("\n")
            piece = behind or len(line) == LONGEST_READ
            behind = piece and not ends
            line = _TERMINAL_CODE.sub("", line)
            printable = "".join(c if c.isprintable() else " " for c in line[: 2 * LONGEST_LINE]).strip()
            if printable:
                output.tail.append(printable[:LONGEST_LINE])
            found = _METRICS.search(line) if ends or whole else None
            if found is not None and (piece or not _take(found[1], output)):
                output.unread = printable[:LONGEST_LINE]
    return output


def _take(said: str, output: Output) -> bool:
    """Take the metrics after the word METRIC, and return whether there are any."""
    pairs = list(_PAIR.finditer(said))
    for pair in pairs:
        name, value = pair[1], pair[2].rstrip()
        if (grouped := _GROUPS.match(said, pair.start(2))) is not None:
            value = grouped[0]
        try:
            number = float(_BEHIND.sub("", value, count=1))
        except ValueError:
            output.last[name] = False
            output.refused[name] = value[:LONGEST_LINE]
            output.refusals[name] += 1
        else:
            output.last[name] = True
            output.metrics.setdefault(name, []).append(number)
    return bool(pairs)
