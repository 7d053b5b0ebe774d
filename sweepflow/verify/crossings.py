"""Normal crossings: singular minima whose lambda, and whose finite-n expectation, are both known."""

from __future__ import annotations

from sweepflow.llc.theory import localised_normal_crossing_llc, normal_crossing_llc
from sweepflow.schema.data import NormalCrossingData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import PotentialModel
from sweepflow.schema.sampler import HmcSampler
from sweepflow.schema.target import TrainingConfig
from sweepflow.verify.case import Case, Tolerance

EXPONENTS = ((1, 1), (1, 2), (2, 2))
NBETA = 1000.0
GAMMA = 1.0
TOLERANCE = Tolerance(relative=0.05, standard_errors=3.0)
"""The energy's relative spread is 1 / sqrt(lambda), three times that of a quadratic in 20 dimensions."""


def cases() -> tuple[Case, ...]:
    """Two-dimensional crossings by HMC, against the exact expectation at this nbeta and gamma."""
    return tuple(_case(exponents) for exponents in EXPONENTS)


def _case(exponents: tuple[int, int]) -> Case:
    limit = normal_crossing_llc(exponents)
    truth = localised_normal_crossing_llc(exponents, NBETA, GAMMA)
    potential = "·".join(f"w{i}^{2 * k}" for i, k in enumerate(exponents, start=1))
    return Case(
        name=f"normal crossing {potential}",
        config=LlcConfig(
            model=PotentialModel(),
            data=NormalCrossingData(exponents=exponents),
            target=TrainingConfig(start="truth", steps=0),
            sampler=HmcSampler(
                nbeta=NBETA,
                gamma=GAMMA,
                # Small steps, long trajectories: the valleys along the axes get narrower without end.
                target_acceptance=0.99,
                num_integration_steps=64,
                chains=8,
                warmup=1000,
                draws=10_000,
            ),
        ),
        truth=truth,
        tolerance=TOLERANCE,
        note=(
            f"E[nβL] at nβ = {NBETA:g}, γ = {GAMMA:g} by quadrature; its limit λ = {limit.value:g} "
            f"(m = {limit.multiplicity}) is still {100 * (limit.value / truth - 1):.0f} % higher"
        ),
        quick=True,
    )
