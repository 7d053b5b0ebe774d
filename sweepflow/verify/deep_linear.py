"""Deep linear networks at the most singular parameter of their true set, against Aoyagi's lambda.

The data are noiseless and white, so L_n is the population loss, L_n(w0) = 0, and nbeta is free: the larger
it is, the closer the expectation comes to lambda, and the stiffer the posterior.

The remaining error is negative, and largest for deep networks: strata of the true set with nearly the same
lambda act like a higher multiplicity until nbeta is astronomically large. Measured on 20 x 20 x 20 x 20
x 20 of rank 5, lambda = 158, with trajectories of 200 steps: 6.1 % below lambda at nbeta = 1e3, 2.8 % at 1e5,
3.3 % at 1e7, each with a standard error of 0.6 %; with the 64 steps taken here, 4 to 5 % at 1e5.
"""

from __future__ import annotations

import math

from sweepflow.estimates.theory import LearningCoefficient, deep_linear_llc
from sweepflow.models.mlp import num_params
from sweepflow.schema.data import DeepLinearData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import DeepLinearModel
from sweepflow.schema.sampler import HmcSampler, SamplerConfig, SgldSampler
from sweepflow.schema.target import TrainingConfig
from sweepflow.verify.case import Case, Tolerance

SHAPES = (
    ((12, 9), 9),
    ((4, 3, 4), 1),
    ((3, 4, 5, 3), 1),
    ((5, 5, 5), 2),
    ((8, 4, 8), 0),
    ((5, 5, 5, 5, 5), 2),
    ((6, 6, 6, 6), 2),
    ((20, 5, 20), 2),
    ((10, 10, 10, 10), 3),
    ((30, 10, 20), 10),
    ((16, 16, 16, 16), 4),
    ((24, 24, 24), 6),
    ((40, 20, 40), 5),
    ((20, 20, 20, 20, 20), 5),
    ((32, 32, 32), 8),
    ((50, 50, 50), 10),
)
"""Layer widths and true rank; 24 to 5,000 parameters. (12, 9) is linear regression. (30, 10, 20) has full
rank and is regular except for the layers' symmetry. All others are rank-deficient."""
DEEPEST = tuple(((6,) * (layers + 1), rank) for layers in (6, 7, 8) for rank in (0, 1))
"""Six to eight layers: chains that start at the singular point take long to reach points with a lower lambda,
or strata of nearly the same lambda."""
QUICK = (((4, 3, 4), 1), ((5, 5, 5), 2), ((20, 5, 20), 2), ((24, 24, 24), 6))
BY_SGLD = (((20, 5, 20), 2), ((24, 24, 24), 6))

NBETA = 1e5
NBETA_SGLD = 1e4
"""SGLD's step is bounded by the stiffest direction, its time by the flattest."""
GAMMA = 1.0
ESS, MAX_GRADIENTS = 1000.0, 1_000_000
"""At the default of 200, chains have explored flat directions so little that λ̂ of small networks is up to
15 % too low."""
TOLERANCE = Tolerance(relative=0.1)
TOLERANCE_DEEPEST = Tolerance(relative=0.1, or_flagged=True)


def cases() -> tuple[Case, ...]:
    """Return every shape with HMC, and some shapes also with SGLD."""
    hmc = HmcSampler(nbeta=NBETA, gamma=GAMMA, ess=ESS, max_gradients=MAX_GRADIENTS)
    sgld = SgldSampler(nbeta=NBETA_SGLD, gamma=GAMMA)
    return (
        *(_case(shape, hmc, quick=shape in QUICK) for shape in SHAPES),
        *(_case(shape, hmc, TOLERANCE_DEEPEST) for shape in DEEPEST),
        *(_case(shape, sgld) for shape in BY_SGLD),
    )


def _case(
    shape: tuple[tuple[int, ...], int],
    sampler: SamplerConfig,
    tolerance: Tolerance = TOLERANCE,
    quick: bool = False,
) -> Case:
    widths, rank = shape
    truth = deep_linear_llc(widths, rank)
    assert sampler.nbeta is not None  # given above
    return Case(
        name=f"deep linear {'×'.join(map(str, widths))} rank {rank}, d={num_params(widths, bias=False)}",
        config=LlcConfig(
            model=DeepLinearModel(widths=widths[1:-1]),
            # As many rows as inputs are enough for X^T X / n = I.
            data=DeepLinearData(widths=widths, rank=rank, n_data=widths[0], n_test=1),
            target=TrainingConfig(start="truth", steps=0),
            sampler=sampler,
        ),
        truth=truth.value,
        tolerance=tolerance,
        note=_note(truth, widths, sampler.nbeta),
        quick=quick,
    )


def _note(truth: LearningCoefficient, widths: tuple[int, ...], nbeta: float) -> str:
    parts = [f"λ (m = {truth.multiplicity}) is the limit nβ → ∞"]
    if truth.multiplicity > 1:
        below = (truth.multiplicity - 1) / math.log(nbeta) / truth.value
        parts.append(f"(m−1)/log nβ puts the estimate {100 * below:.1f} % lower")
    if len(widths) > 3:
        parts.append("strata of nearly the same λ, and long mixing between them, some % more")
    return "; ".join(parts)
