"""Estimates of one target that exclude each other, though each by itself looks sound."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sweepflow.storage.record import Record

SHOWN = 2
"""Maximum number of other estimates that a reason names."""
DO = "draw more by each, and believe the one that both come to"


def with_disagreements(estimates: Sequence[Record]) -> list[Record]:
    """Return the same records; those that are `ok` and exclude one another are flagged, with a reason that
    names the other.

    Estimates are of the same quantity if they have the same target, nbeta and gamma, and were computed by the
    same version of the workload. The 95 % intervals of a pair exclude each other by chance once in 180 pairs.
    If there are more pairs, the intervals are widened, so that a false alarm is no more likely for all pairs
    together.

    Args:
        estimates: Records of the workload `llc`.
    """
    alike: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in estimates:
        figures = record.figures
        if record.status == "ok" and all(
            figures.get(f"llc{end}") is not None for end in ("", "_low", "_high")
        ):
            of = tuple(figures.get(name) for name in ("target_id", "nbeta", "gamma"))
            alike[record.version, *of].append(record)
    against: dict[str, list[Record]] = defaultdict(list)
    for members in alike.values():
        widening = _widening(math.comb(len(members), 2))
        for one, other in itertools.combinations(members, 2):
            low, high = sorted((one, other), key=lambda record: record.figures["llc"])
            apart = high.figures["llc"] - low.figures["llc"]
            reach = (low.figures["llc_high"] - low.figures["llc"]) + (
                high.figures["llc"] - high.figures["llc_low"]
            )
            if apart > widening * reach:
                against[one.id].append(other)
                against[other.id].append(one)
    return [_flagged(record, against[record.id]) if record.id in against else record for record in estimates]


def _flagged(record: Record, others: Sequence[Record]) -> Record:
    named = ", ".join(f"{_named(other)} {_interval(other)}" for other in others[:SHOWN])
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    reason = f"its interval {_interval(record)} and that of {named}{more} exclude each other"
    return replace(record, status="flagged", reasons=(*record.reasons, reason), advice=(*record.advice, DO))


def _named(record: Record) -> str:
    sampler = record.config["sampler"]
    return f"{sampler['kind']} ({record.id})"


def _interval(record: Record) -> str:
    return f"{record.figures['llc_low']:.4g} to {record.figures['llc_high']:.4g}"


def _widening(pairs: int) -> float:
    """Return the factor by which to widen the intervals of this many pairs, so that one false alarm among
    them is as likely as that of a single pair."""
    if pairs < 2:
        return 1.0
    from scipy import stats  # takes a second, which a command that estimates nothing need not wait for

    reach = math.sqrt(2) * float(stats.norm.isf(0.025))
    alone = 2 * float(stats.norm.sf(reach))
    return float(stats.norm.isf(-math.expm1(math.log1p(-alone) / pairs) / 2)) / reach
