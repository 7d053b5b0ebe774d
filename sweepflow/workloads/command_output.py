"""What a program has printed: its `METRIC name=value` lines, and the end of its log."""

from __future__ import annotations

import io
import re
from collections import deque
from dataclasses import dataclass, field
from typing import IO

METRIC_NAME = re.compile(r"[\w./@%+-]+")
LAST_LINES = 4
LONGEST_LINE = 200
"""Characters of each of the last lines."""

_METRICS = re.compile(r"(?<!\w)METRIC\b(.*)")
_PAIR = re.compile(rf"({METRIC_NAME.pattern})\s*=\s*([^\s,;]+)")
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Output:
    """What is taken from a log.

    Attributes:
        metrics: All values of each metric, in the order they were printed; NaN and infinity included.
        refused: What stood where a metric's value should be, and is no number.
        tail: The last lines that are not blank, cut to LONGEST_LINE.
    """

    metrics: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


def read_output(log: IO[bytes]) -> Output:
    r"""Read a log from its beginning, and close it.

    A line holds metrics where it has the word METRIC: every `name=value` after that, whatever stands around.
    A carriage return begins a line, so that a progress bar (`\r 40%`) and what is printed behind it are
    lines of their own. Bytes that are not UTF-8 are replaced.
    """
    output = Output()
    log.seek(0)
    with io.TextIOWrapper(log, encoding="utf-8", errors="replace", newline=None) as text:
        for line in text:
            _take(_TERMINAL_CODE.sub("", line), output)
    return output


def _take(line: str, output: Output) -> None:
    if printable := "".join(c if c.isprintable() else " " for c in line[: 2 * LONGEST_LINE]).strip():
        output.tail.append(printable[:LONGEST_LINE])
    if (found := _METRICS.search(line)) is None:
        return
    for name, value in _PAIR.findall(found[1]):
        try:
            number = float(value.rstrip(")]}."))
        except ValueError:
            output.refused[name] = value
        else:
            output.metrics.setdefault(name, []).append(number)
