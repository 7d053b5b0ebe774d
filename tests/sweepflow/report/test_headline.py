from __future__ import annotations

from collections.abc import Callable

import pytest

from sweepflow.report.headline import headline
from sweepflow.report.numbers import short
from sweepflow.storage.record import Record

Make = Callable[..., Record]
Sweep = tuple[list[Record], dict[str, Record]]


def test_typical(typical: Sweep) -> None:
    assert headline(*typical) == (
        "λ̂ from 7.66 to 35 over the 9 sound of 12 estimates, on 4 targets; 2 flagged, 1 diverged;"
        " 1 target did not reach a minimum"
    )


def test_nothing() -> None:
    assert headline([], {}) == "No estimates"


def test_all_diverged(diverged: Sweep) -> None:
    assert headline(*diverged) == "No λ̂: all 4 estimates diverged"


def test_one_sound(target_of: Make, estimate_of: Make) -> None:
    text = headline([estimate_of(target_of())], {})
    assert text.startswith("λ̂ = ") and text.endswith("; the estimate is sound")


def test_the_range_says_what_it_leaves_out(target_of: Make, estimate_of: Make) -> None:
    """A flagged value outside the range is not in it, and the sentence says over which estimates it goes."""
    target = target_of()
    sound = [estimate_of(target, truth=truth, seed=s) for s, truth in enumerate((10.0, 12.0))]
    flagged = estimate_of(target, truth=500.0, status="flagged", reasons=["R̂ 2.0 > 1.05"])
    low, high = sorted(short(float(e.figures["llc"])) for e in sound)
    assert headline([*sound, flagged], {}) == (
        f"λ̂ from {low} to {high} over the 2 sound of 3 estimates, on 1 target; 1 flagged"
    )
    assert headline(sound, {}) == (f"λ̂ from {low} to {high} over all 2 estimates, on 1 target; all are sound")
    one = short(float(sound[0].figures["llc"]))
    assert headline([sound[0], flagged], {}) == (
        f"λ̂ = {one} in the only sound one of 2 estimates, on 1 target; 1 flagged"
    )


def test_one_failed(target_of: Make, failed_of: Make) -> None:
    assert headline([failed_of(target_of())], {}) == "No λ̂: the estimate failed"


@pytest.mark.parametrize("status", ["flagged", "diverged"])
def test_values_without_a_sound_one(status: str, target_of: Make, estimate_of: Make) -> None:
    estimates = [estimate_of(target_of(seed=s), status=status, reasons=["R̂ 2.0 > 1.05"]) for s in (1, 2)]
    assert headline(estimates, {}).startswith(f"No sound estimate: 2 {status} (λ̂ from ")
