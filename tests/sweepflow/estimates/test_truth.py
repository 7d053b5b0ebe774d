"""Estimates against what is known in closed form, and error bars against how often they hold it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sweepflow.estimates.theory import quadratic_llc
from sweepflow.schema.data import DeepLinearData, QuadraticData, TeacherStudentData
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
from sweepflow.verify import Case, cases, compare
from sweepflow.verify.quadratics import GAMMAS

pytestmark = pytest.mark.slow

SEEDS = 40
"""Of each strength of localisation; all of them are one batch of one program. Figures differ in their last
digits from one kind of processor to the next, and chains with them: no bound may hang on a single seed."""
HELD = 107
"""Of 120 intervals: fewer hold the truth in 3 of 1,000 sets where they should in 95 of 100, and in 99 of 100
sets where they do in 80."""
CROSSINGS = 12
"""Seeds of each normal crossing: one estimate of w1^2·w2^4 is off by 4 % as a rule, and by 13 % at times."""
TRAINED = 32
"""Seeds on a trained network."""
TRAINED_CHANCE = 1.3
"""Of a ratio over them: its standard error is 13 %."""
NBETA = 1000.0
STRENGTHS = (1.0, 10.0, 100.0)
"""Of localisation."""
EIGENVALUES = tuple(float(h) for h in np.logspace(0, -3, 12))
"""Three decades of curvature."""
DEFAULTS: dict[str, SamplerConfig] = {
    "hmc": HmcSampler(nbeta=NBETA),
    "nuts": NutsSampler(nbeta=NBETA),
    "mclmc": MclmcSampler(nbeta=NBETA),
    "sgld": SgldSampler(nbeta=NBETA),
    "sgnht": SgnhtSampler(nbeta=NBETA),
}
RELATIVE = {"hmc": 0.02, "nuts": 0.02, "mclmc": 0.02, "sgld": 0.03, "sgnht": 0.02}
"""Share of the truth that the mean over seeds may be off."""
RATIO = dict.fromkeys(("hmc", "nuts", "mclmc", "sgld"), (0.8, 1.25)) | {"sgnht": (0.8, 2.0)}
"""Of the error that is stated to the spread over seeds. The thermostat's energy swings to and fro, so that
its mean is known better than draws that forget each other would say."""
CHANCE = 1.15
"""Of a ratio over 120 seeds: its standard error is 6.5 %."""


def test_a_linear_regression_is_met(run_sweep: Callable[..., Any]) -> None:
    """By samplers at their defaults. HMC stands for what draws from the same Gaussian below too."""
    chosen = [
        case
        for case in cases()
        if case.name.startswith("linear regression")
        and case.config.sampler.kind in ("hmc", "sgld")
        and case.config.sampler.ess is None
    ]
    assert [case.sampler for case in chosen].count("hmc") == len(GAMMAS)
    assert {case.sampler for case in chosen} == {"hmc", "sgld", "sgld-rmsprop", "sgld-adam"}
    _hold(chosen, run_sweep)


def test_normal_crossings_are_met(run_sweep: Callable[..., Any]) -> None:
    """By HMC that is tuned by hand, in the mean over seeds: within the case's share of the truth, and within
    the errors that are stated."""
    chosen = [case for case in cases() if case.name.endswith("tuned by hand")]
    assert chosen
    for case in chosen:
        figures = _over_seeds(
            case.config, [(case.config.sampler.gamma, seed) for seed in range(CROSSINGS)], run_sweep
        )
        _meets(figures, case.truth, case.tolerance.relative)


def test_ok_can_be_believed_of_normal_crossings(run_sweep: Callable[..., Any]) -> None:
    """By MCLMC at its defaults: its error bars are wide, and hold the truth where nothing is flagged."""
    chosen = [c for c in cases() if c.name.startswith("normal crossing") and c.sampler == "mclmc"]
    configs = [
        case.config.model_copy(update={"sampler": case.config.sampler.model_copy(update={"seed": seed})})
        for case in chosen
        for seed in range(CROSSINGS // 2)
    ]
    truths = [case.truth for case in chosen for _ in range(CROSSINGS // 2)]
    records = run_sweep(configs).estimates
    sound = [(r.figures, truth) for r, truth in zip(records, truths, strict=True) if r.status == "ok"]
    held = [figures["llc_low"] <= truth <= figures["llc_high"] for figures, truth in sound]
    assert {case.config.sampler.gamma for case in chosen} == {1.0, 0.1}
    assert len(sound) > len(records) / 2
    # Of 50, fewer hold it in 1 of 1,000 sets where they should in 95 of 100.
    assert np.mean(held) >= 0.84


def test_errors_on_a_trained_network_are_real(run_sweep: Callable[..., Any]) -> None:
    """The stated error against the spread over seeds, what `ok` is worth, and that samplers agree."""
    means, errors = [], []
    for sampler in (HmcSampler(), SgldSampler(), MclmcSampler()):
        config = LlcConfig(
            model=MlpModel(widths=(6,)),
            data=TeacherStudentData(n_data=300, n_test=1, input_dim=4),
            target=TrainingConfig(),
            sampler=sampler,
        )
        swept = run_sweep(
            [
                config.model_copy(update={"sampler": sampler.model_copy(update={"seed": seed})})
                for seed in range(TRAINED)
            ]
        )
        sound = [record.figures for record in swept.estimates if record.status == "ok"]
        assert len(sound) >= 0.9 * TRAINED
        values = [figures["llc"] for figures in sound]
        stated = math.sqrt(np.mean([figures["llc_mcse"] ** 2 for figures in sound]))
        assert 0.8 / TRAINED_CHANCE <= stated / np.std(values, ddof=1) <= 1.25 * TRAINED_CHANCE
        means.append(np.mean(values))
        errors.append(stated / math.sqrt(len(sound)))
    for one, other in itertools.combinations(range(3), 2):
        assert abs(means[one] - means[other]) < 4 * math.hypot(errors[one], errors[other])


def test_deep_linear_networks_are_within_ten_per_cent(run_sweep: Callable[..., Any]) -> None:
    """Two of the smaller shapes, one of them by SGLD too; `sweepflow verify` runs all of them."""
    shapes = {(5, 5, 5), (20, 5, 20)}
    chosen = [
        case
        for case in cases()
        if isinstance(case.config.data, DeepLinearData) and case.config.data.widths in shapes
    ]
    assert [case.sampler for case in chosen] == ["hmc", "hmc", "sgld"]
    _hold(chosen, run_sweep)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_quadratic_is_met_and_intervals_hold_it_as_often_as_they_say(
    kind: str, run_sweep: Callable[..., Any]
) -> None:
    """At default settings: the truth, the errors, and what `ok` is worth."""
    config = LlcConfig(
        model=PotentialModel(),
        data=QuadraticData(eigenvalues=EIGENVALUES, dimension=len(EIGENVALUES)),
        target=TrainingConfig(start="truth", steps=0),
        sampler=DEFAULTS[kind],
    )
    asked = [(gamma, seed) for gamma in STRENGTHS for seed in range(SEEDS)]
    swept = _over_seeds(config, asked, run_sweep)
    held, ratios = 0, []
    for position, gamma in enumerate(STRENGTHS):
        truth = quadratic_llc(EIGENVALUES, NBETA, gamma)
        figures = swept[position * SEEDS :][:SEEDS]
        held += sum(f["llc_low"] <= truth <= f["llc_high"] for f in figures)
        # Intervals that always hold the truth because they are wide would say nothing.
        assert np.median([f["llc_high"] - f["llc_low"] for f in figures]) < 0.4 * truth
        _meets(figures, truth, RELATIVE[kind], standard_errors=math.inf if kind == "sgld" else 4)
        stated = np.mean([f["llc_mcse"] ** 2 for f in figures])
        ratios.append(stated / np.var([f["llc"] for f in figures], ddof=1))
    assert held >= HELD
    low, high = RATIO[kind]
    assert low / CHANCE <= math.sqrt(np.mean(ratios)) <= high * CHANCE


def _over_seeds(
    config: LlcConfig, asked: Sequence[tuple[float, int]], run_sweep: Callable[..., Any]
) -> list[dict[str, float]]:
    """Figures of one configuration by each strength of localisation and seed, in that order."""
    swept = run_sweep(
        [
            config.model_copy(
                update={"sampler": config.sampler.model_copy(update={"gamma": gamma, "seed": seed})}
            )
            for gamma, seed in asked
        ]
    )
    return [record.figures for record in swept.estimates]


def _meets(
    figures: Sequence[dict[str, float]], truth: float, relative: float, standard_errors: float = 4
) -> None:
    """The mean is within both bounds of the truth."""
    error = np.mean([f["llc"] for f in figures]) - truth
    standard_error = math.sqrt(np.mean([f["llc_mcse"] ** 2 for f in figures]) / len(figures))
    assert abs(error) < relative * truth
    assert abs(error) < standard_errors * standard_error


def _hold(chosen: list[Case], run_sweep: Callable[..., Any]) -> None:
    swept = run_sweep([case.config for case in chosen])
    comparisons = [compare(case, record) for case, record in zip(chosen, swept.estimates, strict=True)]
    outside = [
        f"{c.case.name} by {c.case.sampler}: {c.llc} for {c.case.truth}" for c in comparisons if not c.within
    ]
    assert comparisons and not outside
