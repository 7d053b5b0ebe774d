"""The rule that ends a sweep that only fails: a number of calls in a row have failed alike."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sweepflow.storage.record import Record

MOST = 10
"""Default number of calls in a row that may fail alike."""
GO_ON = (
    "mend the cause and start the same command again: it goes on with the trials that were not run, and "
    "those that failed; to run all, however many fail: --max-failures 0 (in Python max_failures=0)"
)
"""Advice for a sweep that only fails, if the store has the work that it has done."""
CALL_ON = "mend the cause; or give a larger max_failures, or 0 to call all, however many fail"
"""Advice for jobs that only fail, wherever they are called."""

_PATH = re.compile(r"[^\s'\"`(=]*/[^\s'\"`),;:]*")
_NUMBER = re.compile(r"\b[0-9a-f]{8,}\b|(?:(?<!\w)[-+])?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
"""Step numbers, losses, and the ids and addresses that differ from trial to trial."""


def alike(text: str) -> str:
    """Return a text without the parts that differ from trial to trial: paths, numbers, ids and spacing.

    >>> alike("exit code 1: no module named foo in /tmp/trl_1/x.py, line 7")
    'exit code #: no module named foo in /, line #'
    """
    return " ".join(_NUMBER.sub("#", _PATH.sub("/", text)).split())


def why_failed(record: Record) -> str | None:
    """Return the reasons in the record of a trial that could not run; None for any other record."""
    return "; ".join(record.reasons) if record.status == "failed" else None


@dataclass(frozen=True)
class Streak:
    """Calls in a row that have failed alike.

    Attributes:
        said: Failure message of the calls.
        calls: Identifiers of the calls.
    """

    said: str = ""
    calls: frozenset[str] = frozenset()

    def after(self, call: str, failure: str | None) -> Streak:
        """Return the streak after another trial has ended.

        Trials of one call of a compiled program fail together, and count once. A result resets the streak, so
        that a sweep is not ended if any trial succeeds in between.

        Args:
            call: Identifier of the call that the trial belongs to.
            failure: Reason for the failure of the trial; None if it has a result.
        """
        if failure is None:
            return Streak()
        before = self.calls if self.calls and alike(failure) == alike(self.said) else frozenset()
        return Streak(failure, before | {call})

    def __len__(self) -> int:
        return len(self.calls)
