"""Quadratic potentials and linear regression: the localised expectation is exact at every n and gamma."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sweepflow import data
from sweepflow.llc.theory import quadratic_llc
from sweepflow.schema.data import QuadraticData, TeacherStudentData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import MlpModel, PotentialModel
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
)
from sweepflow.schema.target import TrainingConfig
from sweepflow.temperature import default_nbeta
from sweepflow.verify.case import Case, Tolerance

GAMMAS = (1.0, 10.0, 100.0)
DIMENSION = 50
"""Many directions make the energy's relative spread small, sqrt(2 / d): 2 % takes fewer draws."""
EIGENVALUES = tuple(float(h) for h in np.logspace(0, -1.5, DIMENSION))
NBETA = 1000.0
REGRESSION = TeacherStudentData(
    n_data=1000, n_test=1, input_dim=20, inputs="anisotropic", condition_number=10.0
)

EXACT = Tolerance(relative=0.02, standard_errors=3.0)
"""HMC and NUTS draw from the posterior itself, and MCLMC's bias is tuned to be smaller than this."""
DISCRETISED = Tolerance(relative=0.05)
"""SGLD: its step-size bias may exceed its standard error."""


def cases() -> tuple[Case, ...]:
    """Both problems, all samplers, at three strengths of localisation."""
    return (*_potential(), *_regression())


def hessian_eigenvalues(config: TeacherStudentData) -> np.ndarray:
    """Eigenvalues of X^T X / n, the Hessian of a linear regression's L_n; (input_dim,), ascending."""
    x = data.load(config).x
    return np.linalg.eigvalsh(x.T @ x / len(x))


def _potential() -> Iterator[Case]:
    potential = QuadraticData(eigenvalues=EIGENVALUES, dimension=DIMENSION)
    quick = {"hmc", "sgld"}
    for gamma in GAMMAS:
        truth = quadratic_llc(EIGENVALUES, NBETA, gamma)
        for sampler, tolerance in (
            *_exact_samplers(NBETA, gamma),
            # Steps of at most 1/30 of the stiffest direction's relaxation time.
            (_sgld(NBETA, gamma, step_size=3e-5, batch_size=None), DISCRETISED),
        ):
            yield Case(
                name=f"quadratic d={DIMENSION} γ={gamma:g}",
                config=LlcConfig(
                    model=PotentialModel(),
                    data=potential,
                    target=TrainingConfig(start="truth", steps=0),
                    sampler=sampler,
                ),
                truth=truth,
                tolerance=tolerance,
                note=_note(sampler),
                quick=sampler.kind in quick,
            )


def _regression() -> Iterator[Case]:
    nbeta = default_nbeta(REGRESSION.n_data)
    eigenvalues = hessian_eigenvalues(REGRESSION)
    for gamma in GAMMAS:
        truth = quadratic_llc(eigenvalues, nbeta, gamma)
        samplers = [
            *_exact_samplers(nbeta, gamma),
            (_sgld(nbeta, gamma, step_size=1e-4, batch_size=256), DISCRETISED),
        ]
        if gamma == GAMMAS[1]:
            # The drift along Adam's averaged gradient lags behind by b1 / (1 - b1) steps, which widens the
            # posterior as an 18 times larger step would (b1 = 0.9); a moment that follows the gradient
            # faster than the chain moves would bend the posterior towards steep places.
            samplers += [
                (
                    _sgld(nbeta, gamma, step_size=3e-5, batch_size=256).model_copy(
                        update={"preconditioner": "rmsprop", "b2": 0.9999}
                    ),
                    DISCRETISED,
                ),
                (
                    _sgld(nbeta, gamma, step_size=1e-5, batch_size=256).model_copy(
                        update={"preconditioner": "adam", "b1": 0.5, "b2": 0.9999}
                    ),
                    DISCRETISED,
                ),
            ]
        for sampler, tolerance in samplers:
            yield Case(
                name=f"linear regression d={REGRESSION.input_dim} γ={gamma:g}",
                config=LlcConfig(
                    model=MlpModel(widths=(), bias=False),
                    data=REGRESSION,
                    target=TrainingConfig(steps=3000),
                    sampler=sampler,
                ),
                truth=truth,
                tolerance=tolerance,
                note=_note(sampler),
            )


def _exact_samplers(nbeta: float, gamma: float) -> Iterator[tuple[SamplerConfig, Tolerance]]:
    # A trajectory of 4 or 5 steps is near a quarter of a turn here, after which the energy is forgotten.
    yield (
        HmcSampler(nbeta=nbeta, gamma=gamma, num_integration_steps=5, warmup=500, draws=4000),
        EXACT,
    )
    yield (
        NutsSampler(nbeta=nbeta, gamma=gamma, max_num_doublings=6, warmup=500, draws=2500),
        EXACT,
    )
    yield (
        MclmcSampler(nbeta=nbeta, gamma=gamma, desired_energy_var=5e-7, warmup=2000, draws=10_000),
        EXACT,
    )


def _sgld(nbeta: float, gamma: float, step_size: float, batch_size: int | None) -> SgldSampler:
    return SgldSampler(
        nbeta=nbeta,
        gamma=gamma,
        step_size=step_size,
        batch_size=batch_size,
        bias_chains=0,
        warmup=10_000,
        thinning=50,
        draws=2000,
    )


def _note(sampler: SamplerConfig) -> str:
    exact = "½ Σ nβh/(nβh+γ), exact"
    return f"{exact}; SGLD is wider by a step-size bias" if sampler.kind == "sgld" else exact
