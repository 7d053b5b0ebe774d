"""Every bundled data set by every sampler at its defaults, beside a long run; and SGLD beside one whose step
was tuned by hand: `python -m benchmarks.estimates`, half an hour on two cores."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from flows import llc
from sweepflow.report.headline import SYMBOL
from sweepflow.report.numbers import half_width, short, with_error
from sweepflow.store.record import Record

SETS = ("digits", "breast_cancer", "diabetes", "teacher_student")
SAMPLERS = ("sgld", "sgnht", "hmc", "nuts", "mclmc")
SEEDS = 4
"""Of each sampler, on each of two targets."""
LONG = ("sampler=hmc", "sampler.ess=4000", "sampler.max_gradients=4000000", "sampler.seed=1000")
"""The reference: a sampler that draws from the posterior itself, with twenty times the effective draws."""
BY_HAND = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0)
"""Step sizes among which a hand would choose, in units of the one that SGLD finds."""
BUDGET, BUDGET_SEEDS = 60_000, 8

Key = tuple[str, int]


def main() -> None:
    """Run the sweeps and print both tables as Markdown."""
    with tempfile.TemporaryDirectory(prefix="sweepflow-bench-") as directory:
        store = f"store={directory}/store"
        groups: dict[tuple[Key, str], list[Record]] = defaultdict(list)
        references: dict[Key, Record] = {}
        for data in SETS:
            of = (f"data={data}", "model=small", "target.seed=1,2", store)
            seeds = f"sampler.seed=range(0,{SEEDS})"
            for record in llc([*of, f"sampler={','.join(SAMPLERS)}", seeds]).estimates:
                groups[_key(data, record), record.config["sampler"]["kind"]].append(record)
            references |= {_key(data, record): record for record in llc([*of, *LONG]).estimates}
        _print_defaults(groups, references)
        print("\n| data | SGLD's step | error | best by hand | error | ratio |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for data in SETS:
            of = (f"data={data}", "model=small", "target.seed=1", store)
            print(_against_hand(of, data, references[data, 1].figures["llc"]))


def _key(data: str, record: Record) -> Key:
    return data, record.config["target"]["target"]["seed"]


def _print_defaults(
    groups: Mapping[tuple[Key, str], Sequence[Record]], references: Mapping[Key, Record]
) -> None:
    print(f"| data | target | long run | sampler | λ̂ ± 95 % | first status | ok of {SEEDS} | gradients | z |")
    print("| --- | ---: | ---: | --- | ---: | --- | ---: | ---: | ---: |")
    everything = 0
    apart: list[float] = []
    pairs: list[float] = []
    for (key, kind), records in groups.items():
        reference = references[key]
        first, sound = records[0], [record for record in records if record.status == "ok"]
        away = [_apart(record, reference) for record in sound]
        everything, apart = everything + len(records), apart + away
        spread = f"{np.sqrt(np.mean(np.square(away))):.1f}" if away else "–"
        cells = (
            key[0],
            f"seed={key[1]}",
            with_error(reference.figures["llc"], half_width(reference.figures)),
            kind,
            with_error(first.figures["llc"], half_width(first.figures)),
            f"{SYMBOL[first.status]} {'; '.join((first.status, *first.reasons))}",
            str(len(sound)),
            f"{np.mean([record.figures['full_gradients'] for record in records]):,.0f}",
            spread,
        )
        print("| " + " | ".join(cells) + " |")
    for key in references:
        pairs += list(_pairs([groups[key, kind] for kind in SAMPLERS]))
    held = 100 * np.mean(np.abs(apart) <= 1.96)
    near, farthest = int(np.sum(np.abs(pairs) <= 3)), max(map(abs, pairs))
    print(f"\n{len(apart)} of {everything} estimates are ok; {held:.0f} % of these are within 1.96 standard")
    print(f"errors of the long run. Of {len(pairs):,} pairs of ok estimates of one target by two samplers,")
    print(f"{near:,} are within 3 joint standard errors, the farthest are {farthest:.1f} apart. The stated")
    ratios = ", ".join(f"{kind} {_stated_over_spread(groups, kind):.2f}" for kind in SAMPLERS)
    print(f"standard error over the spread over seeds: {ratios}.")


def _stated_over_spread(groups: Mapping[tuple[Key, str], Sequence[Record]], kind: str) -> float:
    """Root of the mean, over targets, of the ratio of variances; of ok estimates."""
    ratios = []
    for (_, of), records in groups.items():
        sound = [record.figures for record in records if record.status == "ok"]
        if of == kind and len(sound) > 1:
            stated = np.mean([figures["llc_mcse"] ** 2 for figures in sound])
            ratios.append(np.var([figures["llc"] for figures in sound], ddof=1) / stated)
    return float(np.mean(ratios) ** -0.5)


def _pairs(samplers: Sequence[Sequence[Record]]) -> Iterator[float]:
    """How far sound estimates of one target by different samplers are apart, seed by seed."""
    for i, some in enumerate(samplers):
        for others in samplers[i + 1 :]:
            for one, other in zip(some, others, strict=True):
                if one.status == other.status == "ok":
                    yield _apart(one, other)


def _apart(one: Record, other: Record) -> float:
    """In joint standard errors."""
    a, b = one.figures, other.figures
    return float((a["llc"] - b["llc"]) / np.hypot(a["llc_mcse"], b["llc_mcse"]))


def _against_hand(of: Sequence[str], data: str, true: float) -> str:
    """Root mean squared errors over seeds at equal gradients: SGLD by itself, and at the best given step."""
    seeds = f"sampler.seed=range(0,{BUDGET_SEEDS})"
    budget = (*of, "sampler=sgld", seeds, "sampler.ess=3000", f"sampler.max_gradients={BUDGET}")
    alone = llc(budget).estimates
    found = alone[0].figures["step_size"]
    steps = ",".join(f"{share * found:.3g}" for share in BY_HAND)
    given: dict[float, list[Record]] = defaultdict(list)
    for record in llc([*budget, f"sampler.step_size={steps}"]).estimates:
        given[record.config["sampler"]["step_size"]].append(record)
    errors = {step: _error(records, true) for step, records in given.items()}
    best = min(errors, key=errors.__getitem__)
    own, least = _error(alone, true), errors[best]
    cells = (data, f"{found:.2g}", short(own, 2), f"{best:g}", short(least, 2), f"{own / least:.2f}")
    return "| " + " | ".join(cells) + " |"


def _error(records: Sequence[Record], true: float) -> float:
    """Root mean square; infinite where a chain has left."""
    found = [record.figures["llc"] for record in records]
    return float("inf") if None in found else float(np.sqrt(np.mean(np.square(np.array(found) - true))))


if __name__ == "__main__":
    main()
