"""Normal crossings: singular minima whose lambda, and whose finite-n expectation, are both known.

Their valleys become narrower without limit, and the energy's relative spread is 1 / sqrt(lambda). At their
defaults, HMC and NUTS diverge there and report it; MCLMC is correct within wide error bars.
"""

from __future__ import annotations

from sweepflow.estimates.theory import localised_normal_crossing_llc, normal_crossing_llc
from sweepflow.schema.data import NormalCrossingData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import PotentialModel
from sweepflow.schema.sampler import HmcSampler, MclmcSampler, NutsSampler, SamplerConfig
from sweepflow.schema.target import TrainingConfig
from sweepflow.verify.case import Case, Tolerance

EXPONENTS = ((1, 1), (1, 2), (2, 2), (1, 3), (2, 3))
BY_HAND = EXPONENTS[:3]
NBETA = 1000.0
GAMMAS = (1.0, 0.1)
TOLERANCE = Tolerance(relative=0.05, standard_errors=3.0)
DEFAULTS = Tolerance(relative=0.5, standard_errors=4.0, or_flagged=True)
"""Tolerance at the samplers' defaults: 200 effective draws leave a standard error of 10 to 20 %."""


def cases() -> tuple[Case, ...]:
    """Return two-dimensional crossings, compared with the exact expectation at this nbeta and gamma: by HMC
    that is tuned by hand, and by samplers at their defaults."""
    by_hand = HmcSampler(
        nbeta=NBETA,
        gamma=GAMMAS[0],
        # Small steps, for valleys that are narrow.
        target_acceptance=0.99,
        chains=8,
        warmup=1000,
        draws=10_000,
    )
    return (
        *(_case(exponents, by_hand, TOLERANCE, quick=True) for exponents in BY_HAND),
        *(
            _case(exponents, kind(nbeta=NBETA, gamma=gamma), DEFAULTS)
            for kind in (HmcSampler, NutsSampler, MclmcSampler)
            for exponents in EXPONENTS
            for gamma in GAMMAS
        ),
    )


def _case(
    exponents: tuple[int, int], sampler: SamplerConfig, tolerance: Tolerance, quick: bool = False
) -> Case:
    limit = normal_crossing_llc(exponents)
    truth = localised_normal_crossing_llc(exponents, NBETA, sampler.gamma)
    potential = "·".join(f"w{i}^{2 * k}" for i, k in enumerate(exponents, start=1))
    by_hand = ", tuned by hand" if tolerance is TOLERANCE else ""
    return Case(
        name=f"normal crossing {potential} γ={sampler.gamma:g}{by_hand}",
        config=LlcConfig(
            model=PotentialModel(),
            data=NormalCrossingData(exponents=exponents),
            target=TrainingConfig(start="truth", steps=0),
            sampler=sampler,
        ),
        truth=truth,
        tolerance=tolerance,
        note=(
            f"E[nβL] at nβ = {NBETA:g}, γ = {sampler.gamma:g} by quadrature; its limit λ = {limit.value:g} "
            f"(m = {limit.multiplicity}) is still {100 * (limit.value / truth - 1):.0f} % higher"
        ),
        quick=quick,
    )
