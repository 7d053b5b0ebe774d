"""Every reason, word for word, where it belongs and only there, and what is advised about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sweepflow.estimates.advice import Advice
from sweepflow.estimates.chains import Bias, Chains
from sweepflow.estimates.estimate import Estimate
from sweepflow.estimates.length import check_length, stayed_finite
from sweepflow.estimates.verdict import Finding, verdict
from sweepflow.schema.sampler import HmcSampler, MclmcSampler, NutsSampler, SgldSampler

NAN = float("nan")
GOOD = Estimate(llc=3.0, mcse=0.1, low=2.8, high=3.2, chains=(3.0, 2.9, 3.1, 3.0), ess=400.0, r_hat=1.01)
DID = Chains(
    diverged_at=(-1, -1, -1, -1),
    frozen=np.zeros(4, bool),
    acceptance=0.8,
    mala_acceptance=0.9,
    energy_variance=4e-6,
    divergences=0,
    draws=2000,
    warmup_steps=3000,
    relaxation_time=1000.0,
    drift=1.0,
    distance_r_hat=1.1,
    highest=(12.0, 11.0, 13.0, 12.0),
    step_size=1e-4,
    full_gradients=50_000.0,
)
SGLD = SgldSampler().settled(50.0)
FIXED = SgldSampler(step_size=1e-4, warmup=1000, draws=500).settled(50.0)
FIXED_LONG = SgldSampler(step_size=1e-4, warmup=30_000, draws=1500).settled(50.0)
HMC = HmcSampler().settled(50.0)
SGLD_FAR = SgldSampler().settled(1000.0)
NUTS = NutsSampler(draws=300).settled(50.0)
MCLMC = MclmcSampler().settled(50.0)


def judge(
    estimate: dict[str, Any] | None = None,
    chains: dict[str, Any] | None = None,
    sampler: Any = HMC,
    rows: int = 1000,
    **more: Any,
) -> Any:
    bias = Bias(0.1, 0.05) if getattr(sampler, "bias_chains", 0) else None
    arguments = {"num_params": 10, "bias": bias, "target": (), **more}
    known: dict[str, Any] = {}
    if sampler.kind != "sgld":
        known = {"relaxation_time": NAN, "mala_acceptance": NAN, "warmup_steps": float(sampler.warmup)}
    did = replace(DID, **{**known, **(chains or {})})
    found = {"chains": GOOD.chains[: sum(at < 0 for at in did.diverged_at)], **(estimate or {})}
    judged = replace(GOOD, **found)
    return verdict(judged, Advice(sampler, rows, did, judged.ess), **arguments)


@pytest.mark.parametrize("sampler", [SGLD, FIXED, HMC, NUTS, MCLMC], ids=lambda s: s.kind)
def test_nothing_to_complain_of(sampler: Any) -> None:
    assert judge(sampler=sampler) == ("ok", ())
    assert judge(sampler=sampler, chains={"relaxation_time": NAN, "draws": 40}) == ("ok", ())


SPENT = {"full_gradients": 300_000.0}
CASES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"estimate": {"llc": -0.25}},
        "negative λ̂ -0.25: w0 is no minimum, or chains found a lower one",
        "train longer (target.steps)",
    ),
    ({"estimate": {"r_hat": 1.4}}, "R̂ 1.40 > 1.05", "sampler.ess=1200"),
    ({"estimate": {"ess": 12.3}, "chains": SPENT}, "ESS 12 < 100", "sampler.max_gradients=4800000"),
    (
        {"estimate": {"ess": 50.0}, "sampler": NUTS},
        "ESS 50 < 100",
        "sampler.draws=auto",
    ),
    (
        {"estimate": {"chains": (3.0, 1e8, 3.1, 3.0), "ess": 4000.0}},
        "chain 2 left the basin: its λ̂ 1e+08 > d/2 = 5",
        "sampler.target_acceptance=0.95",
    ),
    (
        {"estimate": {"chains": (30.0, 56.0, 3.1, 3.0)}, "sampler": FIXED},
        "chain 2, and 1 more left the basin: its λ̂ 56 > d/2 = 5",
        "sampler.step_size=auto",
    ),
    (
        {"chains": {"highest": (12.0, 11.0, 400.0, 12.0)}, "sampler": SGLD},
        "heavy tail: chain 3 was at nβ(L − L₀) = 400, where one in equilibrium is never above 35.9",
        "sampler.step_size=1e-05",
    ),
    (
        {"estimate": {"spread_p": 1e-4, "chains": (0.74, 0.16, 0.13, 0.23)}},
        "chains disagree by more than their errors: λ̂ 0.74, 0.16, 0.13, 0.23",
        "sampler.ess=1200",
    ),
    (
        {"chains": {"distance_r_hat": 2.3}},
        "chains are at different distances from w0 (R̂ 2.30): they have not been everywhere that γ allows, "
        "where λ̂ may be higher (strata of nearly the same λ)",
        "sampler.num_integration_steps=256 sampler.ess=2400 sampler.max_gradients=1200000",
    ),
    (
        {"chains": {"drift": 4.2}},
        "λ̂ still rises: the last third of the draws is 4.2 standard errors off the first",
        "sampler.warmup=1000",
    ),
    (
        {"chains": {"drift": -5.0, "warmup_steps": 3000}, "sampler": SGLD},
        "λ̂ still falls: the last third of the draws is 5.0 standard errors off the first",
        "sampler.warmup=11000",
    ),
    (
        {"chains": {"warmup_steps": 1e3, "relaxation_time": 1e4, "draws": 40_000}, "sampler": SGLD_FAR},
        "warm-up is 0.1 of the 10000 steps in which chains spread, less than 2",
        "sampler.max_gradients=4800000, or sampler.gamma=160",
    ),
    (
        {
            "chains": {"diverged_at": (120, -1, -1, -1), "highest": (12.0, 400.0, 12.0)},
            "sampler": FIXED,
        },
        "chain 1 diverged at step 120; heavy tail: chain 3 was at nβ(L − L₀) = 400, where one in equilibrium "
        "is never above 35.9",
        "sampler.step_size=auto; sampler.step_size=auto",
    ),
    (
        {"estimate": {"ess": 12.3}, "chains": SPENT, "sampler": MCLMC},
        "ESS 12 < 100",
        "sampler.max_gradients=4800000 sampler.thinning=4",
    ),
    (
        {"estimate": {"ess": 72.0}, "sampler": HmcSampler(ess=50.0).settled(50.0)},
        "ESS 72 < 100",
        "sampler.ess=220",
    ),
    (
        {"chains": {"divergences": 21}, "sampler": HmcSampler(target_acceptance=0.95).settled(50.0)},
        "21 of 2000 draws diverged",
        "sampler.target_acceptance=0.988",
    ),
    (
        {"chains": {"divergences": 21}, "sampler": HmcSampler(target_acceptance=0.99).settled(1000.0)},
        "21 of 2000 draws diverged",
        "sampler.gamma=100",
    ),
    (
        {"chains": {"frozen": np.ones(4, bool)}, "sampler": SGLD, "bias": None, "estimate": {"mcse": NAN}},
        "the loss is the same at every draw: it does not depend on w, or chains never moved",
        "look at the target's data and model",
    ),
    (
        {"sampler": SgldSampler(warmup=900).settled(50.0)},
        "the step size is untuned: it was looked for in 450 steps of the warm-up, fewer than 500",
        "sampler.warmup=auto",
    ),
    (
        {"chains": {"warmup_steps": 1e3, "relaxation_time": 1e4, "draws": 40_000}, "sampler": FIXED},
        "warm-up is 0.1 of the 10000 steps in which chains spread, less than 2",
        "sampler.warmup=30000",
    ),
    (
        {"chains": {"warmup_steps": 3e4, "relaxation_time": 1e4, "draws": 6000}, "sampler": FIXED_LONG},
        "draws cover 1.5 of the 10000 steps in which chains spread, less than 2",
        "sampler.draws=auto",
    ),
    (
        {"chains": {"diverged_at": (-1, -1, 120, -1)}, "sampler": FIXED},
        "chain 3 diverged at step 120",
        "sampler.step_size=auto",
    ),
    (
        {"chains": {"frozen": np.array([False, True, False, False])}},
        "chain 2 is frozen: it never moved",
        "sampler.warmup=1000",
    ),
    ({"chains": {"acceptance": 0.04}}, "acceptance 0.04 < 0.1", "sampler.warmup=1000"),
    ({"chains": {"divergences": 21}}, "21 of 2000 draws diverged", "sampler.target_acceptance=0.95"),
    (
        {"chains": {"divergences": 21}, "sampler": MCLMC},
        "21 of 2000 draws diverged",
        "sampler.desired_energy_var=5e-07",
    ),
    (
        {"sampler": MCLMC.model_copy(update={"warmup": 0})},
        "step size and L are untuned: a warm-up of 0 steps is less than 500",
        "sampler.warmup=2000",
    ),
    (
        {"sampler": MCLMC, "chains": {"energy_variance": 2e-5}},
        "energy variance 2e-05 a dimension > 3 × 5e-06, which the step size was tuned to",
        "sampler.warmup=4000",
    ),
    (
        {"sampler": FIXED, "chains": {"mala_acceptance": 0.56}, "bias": None},
        "the step size adds some 38% to λ̂, by the 0.56 of its steps that a Metropolis correction would "
        "accept, and no bias chain has measured it",
        "sampler.step_size=auto",
    ),
    (
        {"sampler": SgldSampler(bias_chains=0).settled(50.0), "chains": {"mala_acceptance": 0.9}},
        "the step size adds some 14% to λ̂, by the 0.90 of its steps that a Metropolis correction would "
        "accept, and no bias chain has measured it",
        "sampler.bias_chains=2",
    ),
    (
        {"sampler": FIXED, "chains": {"mala_acceptance": 0.999}, "estimate": {"ess": 12.0}},
        "ESS 12 < 100",
        "sampler.step_size=auto",
    ),
    (
        {"sampler": SgldSampler(preconditioner="rmsprop").settled(50.0), "chains": {"step_size": 1e4}},
        "no step size was found between 1e-14 and 10000: the loss hardly changes near w0",
        "sampler.preconditioner=none",
    ),
    (
        {"estimate": {"low": -0.5, "high": 6.5}},
        "the interval reaches from -0.5 to 6.5: λ̂ is hardly known",
        "sampler.ess=1200",
    ),
    (
        {"sampler": SGLD, "bias": Bias(0.5, 0.4)},
        "step-size bias +0.5 is known to ± 0.8 only, more than 20% of λ̂: the step is too long for two chains "
        "to stay near each other",
        "sampler.step_size=3.8e-05",
    ),
    (
        {"sampler": SGLD, "bias": Bias(1.5, 0.1)},
        "step-size bias +1.5 is more than 20% of λ̂",
        "sampler.step_size=2e-05",
    ),
    (
        {"sampler": HMC.model_copy(update={"gamma": 25.0})},
        "γ is 0.5 nβ: directions of less curvature are hidden, λ̂ is too low",
        "sampler.gamma=5",
    ),
    (
        {"target": (Finding("loss still falling", "target.steps=4"),)},
        "target: loss still falling",
        "target.steps=4",
    ),
]


@pytest.mark.parametrize(("changes", "reason", "do"), CASES, ids=[reason[:30] for _, reason, _ in CASES])
def test_one_reason(changes: dict[str, Any], reason: str, do: str) -> None:
    pairs = zip(reason.split("; "), do.split("; "), strict=True)
    assert judge(**changes) == ("flagged", tuple(Finding(*pair) for pair in pairs))


@pytest.mark.parametrize(("changes", "reason", "do"), CASES, ids=[reason[:30] for _, reason, _ in CASES])
def test_what_is_advised_can_be_typed(changes: dict[str, Any], reason: str, do: str) -> None:
    """Each way by itself: fields take it, and a chain's budget and traces have room for it."""
    sampler = changes.get("sampler", HMC)
    for way in do.replace("; ", ", or ").split(", or "):
        typed = dict(
            override.removeprefix("sampler.").split("=") for override in way.split() if "=" in override
        )
        if not way.startswith("sampler."):
            continue
        given = {name: getattr(sampler, name) for name in sampler.model_fields_set}
        if typed.get("draws", "auto") != "auto" or (typed.keys() & {"warmup"} and sampler.draws != "auto"):
            given = {name: value for name, value in given.items() if name not in ("ess", "max_gradients")}
        changed = type(sampler).model_validate({**given, **typed}, strict=False).settled(50.0)
        check_length(changed, rows=1000)


def test_just_within_bounds() -> None:
    assert judge({"r_hat": 1.05, "ess": 100.0}, {"divergences": 20, "acceptance": 0.1})[0] == "ok"
    assert judge({"chains": (5.8, 3.0, 3.0, 3.0)})[0] == "ok", "d/2 is within a chain's own error"
    assert judge({"chains": (6.0, 3.0, 3.0, 3.0)})[0] == "flagged"
    assert judge(sampler=SGLD, bias=Bias(0.6, 0.1))[0] == "ok"
    assert judge(sampler=SGLD, bias=Bias(0.9, 0.29))[0] == "ok", "it may be smaller"
    assert judge(sampler=SGLD, chains={"mala_acceptance": 0.5}, bias=Bias(0.1, 0.1))[0] == "ok", "measured"


def test_where_w0_is_to_be_no_minimum_the_estimate_may_be_negative() -> None:
    assert judge({"llc": -0.25}, at_minimum=False) == ("ok", ())


def test_many_chains_diverged() -> None:
    did = {"diverged_at": (10, -1, 30, 20, 50), "frozen": np.zeros(5, bool), "acceptance": NAN}
    status, (finding,) = judge(chains=did)
    assert (status, finding.reason) == ("flagged", "4 chains diverged, first: chain 1 diverged at step 10")


@pytest.mark.parametrize(
    ("steps", "words"), [((40, 40), "step 40"), ((40, 20), "steps 20 to 40"), ((7,), "step 7")]
)
def test_every_chain_diverged(steps: tuple[int, ...], words: str) -> None:
    nothing = {"llc": NAN, "mcse": NAN, "ess": NAN, "r_hat": NAN, "chains": ()}
    of_target = (Finding("training diverged at step 3", "target.learning_rate=0.001"),)
    status, findings = judge(nothing, {"diverged_at": steps}, FIXED, target=of_target)
    assert status == "diverged"
    assert findings == (
        Finding("target: training diverged at step 3", "target.learning_rate=0.001"),
        Finding(f"every chain diverged, at {words}", "sampler.step_size=auto"),
    )


def test_every_chain_frozen_is_said_once_and_nothing_else() -> None:
    frozen = {"mcse": NAN, "ess": NAN, "r_hat": NAN, "low": NAN, "high": NAN, "spread_p": 1.0}
    status, (finding,) = judge(frozen, {"frozen": np.ones(4, bool), "highest": (3.0,) * 4})
    assert status == "flagged"
    assert finding.reason.startswith("the loss is the same at every draw")


def test_sound() -> None:
    losses = np.ones((3, 5))
    losses[1, 4] = np.inf
    losses[2, 0] = np.nan
    assert stayed_finite(losses).tolist() == [True, False, False]
