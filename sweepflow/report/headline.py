"""One sentence with the findings of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sweepflow.report.labels import target_key
from sweepflow.report.numbers import counted, half_width, number, short, with_error
from sweepflow.storage.record import Record, Status

STATUSES: tuple[Status, ...] = ("ok", "flagged", "diverged", "failed")
SYMBOL = {"ok": "✓", "flagged": "▲", "diverged": "✗", "failed": "■"}
"""A shape for each status, so that no table depends on colour."""


def headline(estimates: Sequence[Record], targets: Mapping[str, Record]) -> str:
    """The findings: the range of the sound λ̂, the number of sound estimates, the status of the others."""
    parts = [_finding(estimates)] if estimates else ["No estimates"]
    lost = sum(not is_settled(t) for t in targets.values())
    if lost:
        parts.append(f"{counted(lost, 'target')} did not reach a minimum")
    return "; ".join(parts)


def is_settled(target: Record) -> bool:
    """Return whether training reached a minimum, according to its record; a training that was set to stop
    earlier did not."""
    return target.status == "ok" and target.figures.get("converged") is not False


def has_result(records: Iterable[Record]) -> bool:
    """Return whether any trial has a finite result, even a flagged one."""
    return any(record.status in ("ok", "flagged") for record in records)


def status_counts(estimates: Sequence[Record], but: str = "") -> str:
    """Counts by status, such as `10 ok, 2 flagged`, without the status `but`."""
    counts = Counter(e.status for e in estimates)
    return ", ".join(f"{counts[s]:,} {s}" for s in STATUSES if counts[s] and s != but)


def _finding(estimates: Sequence[Record]) -> str:
    sound = [e for e in estimates if e.status == "ok" and number(e.figures, "llc") is not None]
    if len(estimates) == 1 and sound:
        figures = sound[0].figures
        return f"λ̂ = {with_error(number(figures, 'llc'), half_width(figures))}; the estimate is sound"
    if sound:
        everything, on = counted(len(estimates), "estimate"), _on_targets(sound)
        if len(sound) == len(estimates):
            return f"{_range(sound)} over all {everything}, {on}; all are sound"
        over = "in the only sound one" if len(sound) == 1 else f"over the {len(sound):,} sound"
        return f"{_range(sound)} {over} of {everything}, {on}; {status_counts(estimates, but='ok')}"
    with_value = [e for e in estimates if number(e.figures, "llc") is not None]
    if with_value:
        rest = status_counts(estimates)
        return (
            f"No sound estimate: {rest} ({_range(with_value)} {_on_targets(with_value)}, not to be relied on)"
        )
    if len(estimates) == 1:
        return f"No λ̂: the estimate {estimates[0].status}"
    if len({e.status for e in estimates}) == 1:
        return f"No λ̂: all {counted(len(estimates), 'estimate')} {estimates[0].status}"
    return f"No λ̂: {status_counts(estimates)}"


def _range(estimates: Sequence[Record]) -> str:
    values = [value for e in estimates if (value := number(e.figures, "llc")) is not None]
    low, high = short(min(values)), short(max(values))
    return f"λ̂ = {low}" if low == high else f"λ̂ from {low} to {high}"


def _on_targets(estimates: Sequence[Record]) -> str:
    return f"on {counted(len({target_key(e) for e in estimates}), 'target')}"
