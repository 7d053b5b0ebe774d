"""Compare every sampler at its defaults with a long run, on every bundled data set. Compare also SGLD with
SGLD whose step was tuned by hand: `python -m benchmarks.estimates [DATA...]`. A data set takes ten to twenty
minutes on two cores. Finished work is in the store (SWEEPFLOW_STORE, or sweepflow-data), so that an
interrupted run goes on where it was interrupted."""

from __future__ import annotations

import itertools
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from sweepflow import llc
from sweepflow.report.headline import SYMBOL
from sweepflow.report.numbers import half_width, markdown_table, short, with_error
from sweepflow.storage.record import Record

SETS = ("digits", "breast_cancer", "diabetes", "teacher_student")
SAMPLERS = ("sgld", "sgnht", "hmc", "nuts", "mclmc")
SEEDS = 6
LONG = ("sampler=hmc", "sampler.ess=10000", "sampler.max_gradients=4000000", "sampler.seed=1000")
"""The reference: a sampler that draws from the posterior itself, with fifty times the effective draws."""
BY_HAND = (1 / 2, 1.0, 2.0)
"""First step sizes of the tuning by hand, in units of the step size that SGLD finds. The tuning goes on while
the best step size is the first or the last."""
BUDGET, BUDGET_SEEDS = 150_000, 8
ROUNDS = 2
"""Largest number of times that the advice of a flagged estimate is followed."""
STARTS = (
    ("sampler=sgld", "sampler.step_size=1e-6"),
    ("sampler=sgld", "sampler.step_size=0.003"),
    ("sampler=sgld", "sampler.warmup=100", "sampler.draws=50"),
    ("sampler=sgnht", "sampler.batch_size=16"),
    ("sampler=hmc", "sampler.num_integration_steps=2"),
    ("sampler=hmc", "sampler.draws=20"),
    ("sampler=nuts", "sampler.max_gradients=8000"),
    ("sampler=mclmc", "sampler.warmup=0"),
)
"""Settings with which an estimate is flagged, and from which its advice is followed."""

Groups = Mapping[tuple[str, str], Sequence[Record]]


def main(sets: Sequence[str]) -> None:
    """Run the sweeps and print three tables as Markdown."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    references: dict[str, Record] = {}
    by_hand = []
    followed = []
    for data in sets:
        of = (f"data={data}", "model=small", "target.seed=1")
        seeds = f"sampler.seed=range(0,{SEEDS})"
        for record in llc([*of, f"sampler={','.join(SAMPLERS)}", seeds]).estimates:
            kind = record.config["sampler"]["kind"]
            groups[data, kind].append(record)
            if record.status != "ok":
                seed = f"sampler.seed={record.config['sampler']['seed']}"
                followed.append(_followed(data, of, [f"sampler={kind}", seed]))
        (references[data],) = llc([*of, *LONG]).estimates
        followed += [_followed(data, of, start) for start in STARTS]
        by_hand.append(_against_hand(of, data, references[data].figures["llc"]))
    rows = [_row(data, kind, records, references[data]) for (data, kind), records in groups.items()]
    headers = ("data", "long run", "sampler", "λ̂ ± 95 %", f"ok of {SEEDS}", "gradients", "z")
    print(markdown_table(headers, rows))
    _print_summary(groups, references)
    by_hand_headers = ("data", "SGLD's step", "error", "best step by hand", "error", "ratio")
    print(markdown_table(by_hand_headers, by_hand))
    advice_headers = ("data", "settings", "flagged as", "who follows the advice", "types")
    print(f"\n{markdown_table(advice_headers, followed)}")


def _row(data: str, kind: str, records: Sequence[Record], reference: Record) -> Sequence[str]:
    sound = _sound(records)
    first = records[0]
    away = [_apart(record, reference) for record in sound]
    why = Counter(reason for record in records for reason in record.reasons)
    others = f": {SYMBOL['flagged']} {why.most_common(1)[0][0]}" if why else ""
    return (
        data,
        with_error(reference.figures["llc"], half_width(reference.figures)),
        kind,
        with_error(first.figures["llc"], half_width(first.figures)),
        f"{len(sound)}{others}",
        f"{np.mean([record.figures['full_gradients'] for record in records]):,.0f}",
        f"{np.sqrt(np.mean(np.square(away))):.1f}" if away else "–",
    )


def _print_summary(groups: Groups, references: Mapping[str, Record]) -> None:
    everything = [record for records in groups.values() for record in records]
    apart = [
        _apart(record, references[data])
        for (data, _), records in groups.items()
        for record in _sound(records)
    ]
    pairs = [
        _apart(one, other)
        for data in references
        for some, others in itertools.combinations([groups[data, kind] for kind in SAMPLERS], 2)
        for one, other in zip(some, others, strict=True)
        if one.status == other.status == "ok"
    ]
    held = 100 * np.mean(np.abs(apart) <= 1.96)
    near, farthest = int(np.sum(np.abs(pairs) <= 3)), max(map(abs, pairs))
    print(
        f"\n{len(apart)} of {len(everything)} estimates are ok; {held:.0f} % of these are within 1.96 joint"
    )
    print(f"standard errors of the long run. Of {len(pairs):,} pairs of ok estimates by two samplers,")
    print(f"{near:,} are within 3 joint standard errors, the farthest {farthest:.1f} apart. The stated")
    ratios = ", ".join(f"{kind} {_stated_over_spread(groups, kind):.2f}" for kind in SAMPLERS)
    print(f"standard error over the spread over seeds: {ratios}.\n")


def _stated_over_spread(groups: Groups, kind: str) -> float:
    """Return the stated standard error over the spread over seeds, of ok estimates: the root of the inverse
    of the mean, over data sets, of spread variance over stated variance."""
    ratios = []
    for (_, of), records in groups.items():
        sound = [record.figures for record in _sound(records)]
        if of == kind and len(sound) > 1:
            stated = np.mean([figures["llc_mcse"] ** 2 for figures in sound])
            ratios.append(np.var([figures["llc"] for figures in sound], ddof=1) / stated)
    return float(np.mean(ratios) ** -0.5) if ratios else float("nan")


def _sound(records: Sequence[Record]) -> Sequence[Record]:
    return [record for record in records if record.status == "ok"]


def _apart(one: Record, other: Record) -> float:
    """Return the difference of two estimates in joint standard errors."""
    a, b = one.figures, other.figures
    return float((a["llc"] - b["llc"]) / np.hypot(a["llc_mcse"], b["llc_mcse"]))


def _against_hand(of: Sequence[str], data: str, true: float) -> Sequence[str]:
    """Compare root mean squared errors at equal gradients: SGLD by itself, and at the best of given steps."""
    seeds = f"sampler.seed=range(0,{BUDGET_SEEDS})"
    budget = (*of, "sampler=sgld", seeds, "sampler.ess=2000", f"sampler.max_gradients={BUDGET}")
    alone = llc(budget).estimates
    found = alone[0].figures["step_size"]
    errors: dict[float, float] = {}
    shares = set(BY_HAND)
    while shares:
        for share in shares:
            errors[share] = _error(llc([*budget, f"sampler.step_size={share * found:.3g}"]).estimates, true)
        best = min(errors, key=errors.__getitem__)
        shares = {best / 2, best * 2} - set(errors)
    own, least = _error(alone, true), errors[best]
    return data, f"{found:.2g}", short(own, 2), f"{best * found:.2g}", short(least, 2), f"{own / least:.2f}"


def _followed(data: str, of: Sequence[str], start: Sequence[str]) -> Sequence[str]:
    """Return the outcome of an estimate if the first advice of each of its reasons is typed."""
    (record,) = llc([*of, *start]).estimates
    reason = record.reasons[0] if record.reasons else record.status
    given = dict(override.split("=", 1) for override in start)
    rounds = 0
    while record.status != "ok" and rounds < ROUNDS:
        for do in record.advice:
            ways = [re.findall(r"([\w.]+)=([^\s,;]+)", way) for way in do.split(", or ")]
            given |= dict(next(filter(None, ways), []))  # the first that can be typed
        (record,) = llc([*of, *(f"{key}={value}" for key, value in given.items())]).estimates
        rounds += 1
    typed = " ".join(f"{key}={value}" for key, value in given.items() if f"{key}={value}" not in start)
    return data, " ".join(start), reason, f"{record.status} after {rounds} rounds", typed


def _error(records: Sequence[Record], true: float) -> float:
    """Return the root mean squared error, from the stated variances and the mean over seeds.

    It is infinite if a chain has diverged. The spread of a few seeds is known only to a quarter, and the
    smallest of several such spreads is too small.
    """
    figures = [record.figures for record in records]
    if any(one["llc"] is None or one["llc_mcse"] is None for one in figures):
        return float("inf")
    away = np.mean([one["llc"] for one in figures]) - true
    return float(np.hypot(away, np.sqrt(np.mean([one["llc_mcse"] ** 2 for one in figures]))))


if __name__ == "__main__":
    main(sys.argv[1:] or SETS)
