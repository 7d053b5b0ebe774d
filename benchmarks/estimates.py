"""Every bundled data set by every sampler at its defaults, beside a long run: `python -m
benchmarks.estimates`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from flows import llc
from sweepflow.report.numbers import half_width, number, with_error
from sweepflow.report.terminal import SYMBOL
from sweepflow.store.record import Record

DATA = ("diabetes", "digits", "breast_cancer", "teacher_student")
SAMPLERS = ("sgld", "hmc", "nuts", "mclmc")
TARGETS = ("model=small", f"data={','.join(DATA)}", "target.seed=1,2")
LONG = ("sampler=hmc", "sampler.ess=4000", "sampler.max_gradients=4000000", "sampler.seed=1000")
"""The reference: a sampler that draws from the posterior itself, with twenty times the effective draws."""


def main() -> None:
    """Run both sweeps and print the table as Markdown."""
    with tempfile.TemporaryDirectory(prefix="sweepflow-bench-") as directory:
        store = f"store={directory}/store"
        asked = llc([*TARGETS, f"sampler={','.join(SAMPLERS)}", store]).estimates
        references = {r.figures["target_id"]: r for r in llc([*TARGETS, *LONG, store]).estimates}
    print("| data | target | sampler | λ̂ ± 95 % | status | gradients | long run | apart |")
    print("| --- | ---: | --- | ---: | --- | ---: | ---: | ---: |")
    for record in sorted(asked, key=_place):
        print(_row(record, references[record.figures["target_id"]]))
    sound = [record for record in asked if record.status == "ok"]
    print(f"\n{len(sound)} of {len(asked)} estimates are ok")


def _place(record: Record) -> Sequence[object]:
    target = record.config["target"]
    return DATA.index(target["data"]["kind"]), target["target"]["seed"], SAMPLERS.index(_sampler(record))


def _sampler(record: Record) -> str:
    kind: str = record.config["sampler"]["kind"]
    return kind


def _row(record: Record, reference: Record) -> str:
    target, figures = record.config["target"], record.figures
    llc_, mcse = number(figures, "llc"), number(figures, "llc_mcse")
    true, error = number(reference.figures, "llc"), number(reference.figures, "llc_mcse")
    apart = "–"
    if None not in (llc_, mcse, true, error):
        apart = f"{(llc_ - true) / (mcse**2 + error**2) ** 0.5:+.1f} SE"  # type: ignore[operator]
    cells = (
        target["data"]["kind"],
        f"seed={target['target']['seed']}",
        _sampler(record),
        with_error(llc_, half_width(figures)),
        f"{SYMBOL[record.status]} {'; '.join((record.status, *record.reasons))}",
        f"{figures['full_gradients']:,.0f}",
        with_error(true, half_width(reference.figures)),
        apart,
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
