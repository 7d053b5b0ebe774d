"""Why trials have no value: their reasons, those that differ only in numbers and paths counted together."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Status
from sweepflow.streak import alike
from sweepflow.words import shortened

MAX_CAUSE = 200
"""Characters of a cause that a line holds."""

_UNDERLINE = re.compile(r"[\^~]{2,} (?:\| )?")
"""Marks below a traceback's line, which point at nothing once lines are joined."""


@dataclass(frozen=True)
class Cause:
    """What trials without a value have in common.

    Attributes:
        status: How they ended.
        reason: The reasons of the first of them, on one line.
        ids: Of the trials, in the order asked for.
    """

    status: Status
    reason: str
    ids: tuple[str, ...]

    @property
    def text(self) -> str:
        """`2 failed: exit code 2; its log ends: … (one of them: sweepflow show trl_…)`."""
        # A log says what went wrong at its end, and what was run at its beginning.
        reason = shortened(self.reason, MAX_CAUSE, tail=MAX_CAUSE // 2)
        one = "one of them: " if len(self.ids) > 1 else ""
        return f"{len(self.ids):,} {self.status}: {reason} ({one}sweepflow show {self.ids[0]})"


def causes(view: TrialsView) -> list[Cause]:
    """Why trials diverged or failed, the commonest first."""
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
