"""Causes of trials without a value; reasons that differ only in numbers and paths are counted together."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Status
from sweepflow.streak import alike
from sweepflow.words import shortened

MAX_CAUSE = 200
"""Most characters of a cause in a line."""

_UNDERLINE = re.compile(r"[\^~]{2,} (?:\| )?")
"""Marks below a traceback's line, which have no meaning after the lines are joined."""


@dataclass(frozen=True)
class Cause:
    """The common cause of trials without a value.

    Attributes:
        status: Status of the trials.
        reason: The reasons of the first of these trials, on one line.
        ids: Ids of the trials, in the requested order.
    """

    status: Status
    reason: str
    ids: tuple[str, ...]

    @property
    def text(self) -> str:
        """The cause as `2 failed: exit code 2; its log ends: … (one of them: sweepflow show trl_…)`."""
        # A log says what went wrong at its end, and what was run at its beginning.
        reason = shortened(self.reason, MAX_CAUSE, tail=MAX_CAUSE // 2)
        one = "one of them: " if len(self.ids) > 1 else ""
        return f"{len(self.ids):,} {self.status}: {reason} ({one}sweepflow show {self.ids[0]})"


def causes(view: TrialsView) -> list[Cause]:
    """The causes of diverged or failed trials, the most common first."""
    members: dict[tuple[Status, str], list[int]] = defaultdict(list)
    for place, record in enumerate(view.records):
        if record.status in ("diverged", "failed"):
            members[record.status, alike(_reason(view, place))].append(place)
    found = [
        Cause(status, _reason(view, places[0]), tuple(view.records[place].id for place in places))
        for (status, _), places in members.items()
    ]
    return sorted(found, key=lambda cause: -len(cause.ids))


def _reason(view: TrialsView, place: int) -> str:
    record = view.records[place]
    text = _UNDERLINE.sub("", " ".join("; ".join(record.reasons).split()))
    # A program may say it in the word that stands before it anyway.
    return text.removeprefix(f"{record.status}: ") or "no reason was recorded"
