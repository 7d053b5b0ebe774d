"""When to end a sweep that only fails: after so many calls in a row that have failed alike."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sweepflow.storage.record import Record

MOST = 10
"""Calls in a row that may fail alike, where nobody says how many."""
GO_ON = (
    "mend the cause and start the same command again: it goes on with the trials that were not run, and "
    "those that failed; to run all, however many fail: --max-failures 0 (in Python max_failures=0)"
)
"""What to do about a sweep that only fails, where the store has what it has done."""
CALL_ON = "mend the cause; or give a larger max_failures, or 0 to call all, however many fail"
"""What to do about jobs that only fail, wherever they are called."""

_PATH = re.compile(r"[^\s'\"`(=]*/[^\s'\"`),;:]*")
_NUMBER = re.compile(r"\b[0-9a-f]{8,}\b|(?:(?<!\w)[-+])?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
"""Step numbers, losses, and the ids and addresses that differ from trial to trial."""


def alike(text: str) -> str:
    """A text without what differs from trial to trial: paths, numbers, ids, and how it is spaced.

    >>> alike("exit code 1: no module named foo in /tmp/trl_1/x.py, line 7")
    'exit code #: no module named foo in /, line #'
    """
    return " ".join(_NUMBER.sub("#", _PATH.sub("/", text)).split())


def why_failed(record: Record) -> str | None:
    """What the record of a trial that could not run says of it."""
    return "; ".join(record.reasons) if record.status == "failed" else None


@dataclass(frozen=True)
class Streak:
    """Calls in a row that have failed alike.

    Attributes:
        said: What they said.
        calls: Which they were.
    """

    said: str = ""
    calls: frozenset[str] = frozenset()

    def after(self, call: str, failure: str | None) -> Streak:
        """The streak once another trial has ended.

        Trials of one call of a compiled program fail together, and count once. A result begins anew, so that
        nothing is ended in which anything succeeds in between.

        Args:
            call: Which call the trial was of.
            failure: Why it has failed; None where it has a result.
        """
        if failure is None:
            return Streak()
        before = self.calls if self.calls and alike(failure) == alike(self.said) else frozenset()
        return Streak(failure, before | {call})

    def __len__(self) -> int:
        return len(self.calls)
