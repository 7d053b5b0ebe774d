"""Tuning of the step and the step-size bias, held against what is exact for quadratics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.estimates.theory import quadratic_llc
from sweepflow.samplers.step_size_tuning import MOST_WANTED, STEP_SHARE, acceptance_at_share, bias_share
from sweepflow.schema.data import NormalCrossingData, QuadraticData, TeacherStudentData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import MlpModel, PotentialModel
from sweepflow.schema.sampler import SamplerConfig, SgldSampler, SgnhtSampler
from sweepflow.schema.target import TrainingConfig
from sweepflow.verify.quadratics import hessian_eigenvalues

pytestmark = pytest.mark.slow

NBETA, GAMMA = 100.0, 1.0


def quadratic(eigenvalues: Sequence[float], sampler: SamplerConfig) -> LlcConfig:
    return LlcConfig(
        model=PotentialModel(),
        data=QuadraticData(eigenvalues=tuple(eigenvalues), dimension=len(eigenvalues)),
        target=TrainingConfig(start="truth", steps=0),
        sampler=sampler,
    )


def test_the_bias_is_that_of_the_recursion(run_sweep: Callable[..., Any]) -> None:
    """The stationary variance is 1 / (H (1 - eps H / 4)), H = nbeta h + gamma: a third too much at eps H = 1.

    Twice what half the step lowers lambda-hat by is taken off.
    """
    eigenvalues = [1.0] * 20
    step_size = 1 / (NBETA + GAMMA)
    sampler = SgldSampler(nbeta=NBETA, gamma=GAMMA, step_size=step_size, warmup=500, draws=4000, thinning=4)
    (record,) = run_sweep([quadratic(eigenvalues, sampler)]).estimates
    scale = 10 * NBETA / (NBETA + GAMMA)
    expected = scale * 2 * (1 / (1 - 1 / 4) - 1 / (1 - 1 / 8))
    assert record.figures["llc_bias"] == pytest.approx(expected, abs=4 * record.figures["llc_bias_se"])
    assert record.figures["llc_bias_se"] < 0.02 * scale, "driven by one Brownian motion"
    left = scale * (1 / (1 - 1 / 4)) - expected
    assert record.figures["llc"] == pytest.approx(left, abs=4 * record.figures["llc_mcse"])


def test_the_thermostat_has_hardly_any(run_sweep: Callable[..., Any]) -> None:
    sampler = SgnhtSampler(nbeta=NBETA, gamma=GAMMA, step_size=0.5 / (NBETA + GAMMA), warmup=500, draws=4000)
    (record,) = run_sweep([quadratic([1.0] * 20, sampler)]).estimates
    exact = 10 * NBETA / (NBETA + GAMMA)
    assert abs(record.figures["llc_bias"]) < 0.02 * exact
    assert record.figures["llc"] == pytest.approx(exact, rel=0.02)


def test_the_step_is_tuned_to_the_curvature(run_sweep: Callable[..., Any]) -> None:
    """A hundred times the curvature is a hundredth of the step, found from a hundredth and from a hundred
    times of it; where more is to be accepted, the step is shorter."""
    asked = [
        quadratic(scale * np.logspace(0, -2, 10), kind(nbeta=NBETA, gamma=scale, min_acceptance=least))
        for kind in (SgldSampler, SgnhtSampler)
        for scale, least in ((1e-2, 0.85), (1.0, 0.85), (1e2, 0.85), (1.0, 0.99))
    ]
    found = [record.figures for record in run_sweep(asked).estimates]
    wanted = MOST_WANTED  # directions are few
    for first in (0, 4):
        small, middle, large, shy = found[first : first + 4]
        for figures in (small, middle, large):
            # Steps vary while they are tuned, and long ones are refused more than short ones are accepted.
            assert figures["mala_acceptance"] == pytest.approx(wanted, abs=0.05)
        assert shy["mala_acceptance"] == pytest.approx(0.99, abs=0.008)
        assert max(figures["restarts"] for figures in (small, middle, large, shy)) < 60, "of 400 blocks"
        assert small["step_size"] / middle["step_size"] == pytest.approx(100, rel=0.4)
        assert middle["step_size"] / large["step_size"] == pytest.approx(100, rel=0.4)
        assert shy["step_size"] < middle["step_size"] / 1.5


@pytest.mark.parametrize(("dimension", "wanted"), [(20, STEP_SHARE), (400, None)])
def test_the_step_adds_the_share_that_is_wanted(
    dimension: int, wanted: float | None, run_sweep: Callable[..., Any]
) -> None:
    """Of equal directions it is eps (nbeta h + gamma) / 4. So many that the share would be refused more than
    `min_acceptance` allows have a shorter step."""
    config = quadratic([1.0] * dimension, SgldSampler(nbeta=NBETA, gamma=GAMMA))
    figures = run_sweep([config]).estimates[0].figures
    share = figures["step_size"] * (NBETA + GAMMA) / 4
    assert share == pytest.approx(wanted or bias_share(0.85, dimension / 2), rel=0.25)
    assert figures["mala_acceptance"] == pytest.approx(0.85 if wanted is None else 0.9, abs=0.04)


@given(st.floats(1.0, 1e3))
def test_wanted_acceptance_is_that_of_the_share(llc: float) -> None:
    assert bias_share(float(acceptance_at_share(jnp.asarray(llc))), llc) == pytest.approx(STEP_SHARE)


def test_small_minibatches_shorten_the_step_until_their_noise_is_little(
    run_sweep: Callable[..., Any],
) -> None:
    """Of what is drawn, a twentieth or so; by the acceptance alone it would be a third."""
    config = LlcConfig(
        model=MlpModel(widths=(), bias=False),
        data=TeacherStudentData(n_data=500, n_test=1, input_dim=20),
        target=TrainingConfig(steps=2000),
        sampler=SgldSampler(batch_size=None, max_gradients=60_000),
    )
    few = config.model_copy(update={"sampler": config.sampler.model_copy(update={"batch_size": 8})})
    given = run_sweep([config]).estimates[0].figures
    taken = run_sweep([few]).estimates[0].figures
    assert taken["step_size"] < given["step_size"] / 2
    assert taken["mala_acceptance"] > 0.95
    assert 0.01 < taken["llc_bias"] / taken["llc"] < 0.15
    exact = quadratic_llc(hessian_eigenvalues(config.data), given["nbeta"], 10.0)
    for figures in (given, taken):
        assert figures["llc"] == pytest.approx(exact, abs=4 * figures["llc_mcse"])


def test_all_chains_find_the_same_step(run_sweep: Callable[..., Any]) -> None:
    """They tune with the same random numbers; what they draw differs."""
    sampler = SgldSampler(nbeta=NBETA, chains=3, warmup=200, draws=8)
    swept = run_sweep([quadratic([1.0, 0.1], sampler)])
    losses = swept.traces()
    tuned = 10
    assert (losses[:, :tuned] == losses[:1, :tuned]).all()
    assert (losses[0, tuned:] != losses[1, tuned:]).all()


def test_a_loss_that_is_zero_everywhere_near(run_sweep: Callable[..., Any]) -> None:
    """w1^20 w2^20: no gradient for miles. The localisation alone decides the step, and λ̂ is next to 0."""
    config = LlcConfig(
        model=PotentialModel(),
        data=NormalCrossingData(exponents=(10, 10)),
        target=TrainingConfig(start="truth", steps=0),
        sampler=SgldSampler(nbeta=NBETA, gamma=100.0),
    )
    (record,) = run_sweep([config]).estimates
    assert 0 < record.figures["step_size"] < 1
    assert math.isfinite(record.figures["llc"]) and abs(record.figures["llc"]) < 1e-3
