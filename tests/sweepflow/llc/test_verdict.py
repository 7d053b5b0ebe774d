"""Every reason, word for word, where it belongs and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sweepflow.llc.estimate import Estimate
from sweepflow.llc.verdict import Chains, sound, verdict

NAN = float("nan")
GOOD = Estimate(llc=3.0, mcse=0.1, low=2.8, high=3.2, chains=(3.0, 2.9, 3.1, 3.0), ess=400.0, r_hat=1.01)
DID = Chains(
    diverged_at=(-1, -1, -1, -1), frozen=np.zeros(4, bool), acceptance=0.8, divergences=0, draws=2000
)


def judge(estimate: dict[str, Any] | None = None, chains: dict[str, Any] | None = None, **more: Any) -> Any:
    arguments = {"num_params": 10, "bias": None, "bias_error": None, "target_reasons": (), **more}
    return verdict(replace(GOOD, **(estimate or {})), replace(DID, **(chains or {})), **arguments)


def test_nothing_to_complain_of() -> None:
    assert judge() == ("ok", ())
    assert judge(chains={"acceptance": NAN}, bias=0.1, bias_error=0.2) == ("ok", ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"estimate": {"llc": -0.25}},
            "negative λ̂ -0.25: w0 is no minimum, or chains found a lower one",
        ),
        ({"estimate": {"r_hat": 1.4}}, "R̂ 1.40 > 1.05"),
        ({"estimate": {"ess": 12.3}}, "ESS 12 < 50"),
        (
            {"estimate": {"llc": 56.0}},
            "step size too large: loss left the basin (λ̂ 56 > d/2 = 5)",
        ),
        ({"chains": {"diverged_at": (-1, -1, 120, -1)}}, "chain 3 diverged at step 120"),
        (
            {"chains": {"frozen": np.array([False, True, False, False])}},
            "chain 2 is frozen: it never moved",
        ),
        ({"chains": {"acceptance": 0.04}}, "acceptance 0.04 < 0.1"),
        ({"chains": {"divergences": 21}}, "21 of 2000 draws diverged"),
        ({"bias": 0.31, "bias_error": 0.2}, "step-size bias +0.31 exceeds its error bar 0.2"),
        ({"bias": -0.31, "bias_error": 0.2}, "step-size bias -0.31 exceeds its error bar 0.2"),
        ({"target_reasons": ("loss still falling",)}, "target: loss still falling"),
    ],
)
def test_one_reason(changes: dict[str, Any], reason: str) -> None:
    assert judge(**changes) == ("flagged", (reason,))


def test_just_within_bounds() -> None:
    assert judge({"r_hat": 1.05, "ess": 50.0}, {"divergences": 20, "acceptance": 0.1})[0] == "ok"
    assert judge({"llc": 5.2, "mcse": 0.1})[0] == "ok", "d/2 is within the error bar"
    assert judge({"llc": 5.4, "mcse": 0.1})[0] == "flagged"
    assert judge(bias=0.2, bias_error=0.2)[0] == "ok"


def test_many_chains_diverged() -> None:
    chains = Chains(
        diverged_at=(10, -1, 30, 20, 50), frozen=np.zeros(5, bool), acceptance=NAN, divergences=0, draws=5
    )
    assert judge(chains=vars(chains)) == (
        "flagged",
        ("4 chains diverged, first: chain 1 diverged at step 10",),
    )


@pytest.mark.parametrize(
    ("steps", "words"), [((40, 40), "step 40"), ((40, 20), "steps 20 to 40"), ((7,), "step 7")]
)
def test_every_chain_diverged(steps: tuple[int, ...], words: str) -> None:
    nothing = {"llc": NAN, "mcse": NAN, "ess": NAN, "r_hat": NAN, "chains": ()}
    status, reasons = judge(nothing, {"diverged_at": steps}, target_reasons=("training diverged at step 3",))
    assert status == "diverged"
    assert reasons == ("target: training diverged at step 3", f"every chain diverged, at {words}")


def test_every_chain_frozen_is_said_once_each_and_nothing_else() -> None:
    frozen = {"mcse": NAN, "ess": NAN, "r_hat": NAN, "low": NAN, "high": NAN}
    status, reasons = judge(frozen, {"frozen": np.ones(4, bool)})
    assert status == "flagged"
    assert reasons == tuple(f"chain {i} is frozen: it never moved" for i in (1, 2, 3, 4))


def test_sound() -> None:
    losses = np.ones((3, 5))
    losses[1, 4] = np.inf
    losses[2, 0] = np.nan
    assert sound(losses).tolist() == [True, False, False]
