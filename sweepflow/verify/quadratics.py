"""Quadratic potentials and linear regression: the localised expectation is exact at every n and gamma."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sweepflow import data
from sweepflow.estimates.theory import quadratic_llc
from sweepflow.schema.data import QuadraticData, TeacherStudentData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import MlpModel, PotentialModel
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
)
from sweepflow.schema.target import TrainingConfig
from sweepflow.temperature import default_nbeta
from sweepflow.verify.case import Case, Tolerance

GAMMAS = (1.0, 10.0, 100.0)
DIMENSION = 50
"""Many directions make the energy's relative spread small, sqrt(2 / d): 2 % needs fewer draws."""
EIGENVALUES = tuple(float(h) for h in np.logspace(0, -1.5, DIMENSION))
NBETA = 1000.0
REGRESSION = TeacherStudentData(
    n_data=1000, n_test=1, input_dim=20, inputs="anisotropic", condition_number=10.0
)

DEFAULTS = Tolerance(relative=0.1, standard_errors=4.0)
"""At the defaults, 200 effective draws leave a standard error of 1.4 % in 50 dimensions, and of 2.2 % in
20."""
LONG_ESS = 5000.0
LONG = Tolerance(relative=0.02, standard_errors=3.0)
"""Tolerance with this many effective draws and all other settings at their defaults: the remaining bias."""
LONG_GAMMA = 10.0
LONG_BUDGET = 2_000_000
NOTE = "½ Σ nβh/(nβh+γ), exact"


def cases() -> tuple[Case, ...]:
    """Return both problems with all samplers, at three strengths of localisation."""
    return (*_potential(), *_regression())


def hessian_eigenvalues(config: TeacherStudentData) -> np.ndarray:
    """Return eigenvalues of X^T X / n, the Hessian of a linear regression's L_n; (input_dim,), ascending."""
    x = data.load(config).x
    return np.linalg.eigvalsh(x.T @ x / len(x))


def _potential() -> Iterator[Case]:
    potential = QuadraticData(eigenvalues=EIGENVALUES, dimension=DIMENSION)
    for gamma in GAMMAS:
        truth = quadratic_llc(EIGENVALUES, NBETA, gamma)
        for sampler, tolerance in _samplers(NBETA, gamma):
            yield Case(
                name=_name(f"quadratic d={DIMENSION}", sampler),
                config=LlcConfig(
                    model=PotentialModel(),
                    data=potential,
                    target=TrainingConfig(start="truth", steps=0),
                    sampler=sampler,
                ),
                truth=truth,
                tolerance=tolerance,
                note=NOTE,
                quick=sampler.kind in ("hmc", "sgld") and sampler.ess is None,
            )


def _regression() -> Iterator[Case]:
    nbeta = default_nbeta(REGRESSION.n_data)
    eigenvalues = hessian_eigenvalues(REGRESSION)
    for gamma in GAMMAS:
        truth = quadratic_llc(eigenvalues, nbeta, gamma)
        samplers = [*_samplers(nbeta, gamma)]
        if gamma == LONG_GAMMA:
            # As `conf/sampler` has them. The drift along Adam's averaged gradient lags behind by
            # b1 / (1 - b1) steps, which widens the posterior as an 18 times larger step would (b1 = 0.9); a
            # moment that follows the gradient faster than the chain moves would bend the posterior towards
            # steep places.
            known = {"nbeta": nbeta, "gamma": gamma, "b2": 0.9999}
            rmsprop = SgldSampler(preconditioner="rmsprop", **known)
            adam = SgldSampler(preconditioner="adam", b1=0.5, min_acceptance=0.95, **known)
            samplers += [(rmsprop, DEFAULTS), (adam, DEFAULTS)]
        for sampler, tolerance in samplers:
            yield Case(
                name=_name(f"linear regression d={REGRESSION.input_dim}", sampler),
                config=LlcConfig(
                    model=MlpModel(widths=(), bias=False),
                    data=REGRESSION,
                    target=TrainingConfig(steps=3000),
                    sampler=sampler,
                ),
                truth=truth,
                tolerance=tolerance,
                note=NOTE,
            )


def _samplers(nbeta: float, gamma: float) -> Iterator[tuple[SamplerConfig, Tolerance]]:
    """Yield every sampler at its defaults; at one gamma, also with many more draws."""
    for kind in (HmcSampler, NutsSampler, MclmcSampler, SgldSampler, SgnhtSampler):
        yield kind(nbeta=nbeta, gamma=gamma), DEFAULTS
        if gamma == LONG_GAMMA and kind not in (NutsSampler, SgnhtSampler):
            yield kind(nbeta=nbeta, gamma=gamma, ess=LONG_ESS, max_gradients=LONG_BUDGET), LONG


def _name(what: str, sampler: SamplerConfig) -> str:
    more = "" if sampler.ess is None else f" ess={sampler.ess:g}"
    return f"{what} γ={sampler.gamma:g}{more}"
