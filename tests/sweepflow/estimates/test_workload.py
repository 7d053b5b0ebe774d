"""From chains to records: figures, traces, and the reasons that real chains earn."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from sweepflow.estimates.estimate import estimate
from sweepflow.estimates.length import room
from sweepflow.estimates.record import TRACE_POINTS
from sweepflow.estimates.workload import LLC, estimate_trial
from sweepflow.samplers import chains_per_trial
from sweepflow.schema.data import TeacherStudentData
from sweepflow.schema.llc import EstimateConfig


def made_up(trial: Any, mean: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    """What a sampler hands back: independent draws around `mean`."""
    sampler = trial.config.sampler
    lanes, points = chains_per_trial(sampler), room(sampler, 30)
    return {
        "loss": np.random.default_rng(seed).normal(mean, 0.01, (lanes, points)),
        "full_gradients": np.tile(np.arange(1.0, points + 1), (lanes, 1)),
        "acceptance": np.full((lanes, points), 0.9, np.float32),
        "rejected": np.zeros((lanes, points), bool),
        "step_size": np.full(lanes, 1e-3),
        "distance": np.random.default_rng(seed).normal(1.0, 0.1, (lanes, points)).astype(np.float32),
        "restarts": np.zeros(lanes, np.int32),
    }


@pytest.fixture
def finish(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> Callable[..., Any]:
    """The record of made-up chains on a real target."""

    def run(change: Callable[[Mapping[str, np.ndarray]], None], sampler: str = "sgld", **changes: Any) -> Any:
        config = small(sampler, sampler_changes=changes)
        store = run_sweep([config], targets_only=True).store
        trial = estimate_trial(config.estimate())
        results = made_up(trial)
        change(results)
        return LLC.record(trial, results, store)

    return run


def test_figures_are_the_formula(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    swept = run_sweep([small(sampler_changes={"draws": 60, "nbeta": nbeta}) for nbeta in (None, 3.5)])
    (target,) = swept.targets
    for number, (record, nbeta) in enumerate(zip(swept.estimates, (30 / math.log(30), 3.5), strict=True)):
        figures, arrays = record.figures, swept.store.arrays(record.id)
        assert figures["nbeta"] == record.config["sampler"]["nbeta"] == pytest.approx(nbeta, rel=1e-15)
        assert figures["L0"] == target.figures["loss_train"]
        assert figures["target_id"] == target.id
        assert figures["trace_warmup"] == 2
        kept = swept.traces(number)[:, 2:]
        # What half the step size changes is half of the bias.
        halved = kept[:2] - arrays["bias_loss"][:, 2:]
        found, apart = estimate(kept, figures["L0"], nbeta), estimate(halved, 0.0, 2 * nbeta)
        assert figures["llc_bias"] == pytest.approx(apart.llc, rel=1e-9)
        assert figures["llc_bias_se"] == pytest.approx(apart.mcse, rel=1e-9)
        at_step = nbeta * (kept.mean() - figures["L0"])
        assert figures["llc"] == pytest.approx(at_step - apart.llc, rel=1e-9)
        each = nbeta * (kept.mean(axis=1) - figures["L0"]) - apart.llc
        assert figures["llc_chains"] == pytest.approx(each, rel=1e-9)
        assert figures["llc_mcse"] == pytest.approx(math.hypot(found.mcse, apart.mcse), rel=1e-9)
        assert figures["llc_low"] < figures["llc"] < figures["llc_high"]
        assert (figures["ess_mean"], figures["r_hat"]) == (found.ess, found.r_hat)
        assert figures["acceptance"] is None, "SGLD accepts everything"
        assert 0 < figures["mala_acceptance"] <= 1
        running = arrays["llc_running"]
        assert np.isnan(running[:, :2]).all()
        np.testing.assert_allclose(running[:, -1], figures["llc_chains"], rtol=1e-9)
        wbic = 30 * (kept.mean() - apart.llc / nbeta) if nbeta != 3.5 else None
        assert figures["wbic"] == (wbic if wbic is None else pytest.approx(wbic, rel=1e-9))
        assert figures["nan_fraction"] == 0.0


def test_records_are_plain_json(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        swept = run_sweep([small(sampler_changes={"step_size": step}) for step in (1e-3, 1e-30, 1e3)])
    for record in (*swept.targets, *swept.estimates):
        text = swept.store.paths.record(record.id).read_text()
        again = json.loads(text, parse_constant=pytest.fail)
        assert again["figures"] == record.figures
        assert tuple(again["reasons"]) == record.reasons


def test_frozen_chains(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """A step that float32 cannot see."""
    (record,) = run_sweep([small(sampler_changes={"step_size": 1e-30})]).estimates
    assert record.status == "flagged"
    others = ("target", "γ is")
    (reason, *_) = [reason for reason in record.reasons if not reason.startswith(others)]
    assert reason.startswith("the loss is the same at every draw")
    assert record.figures["frozen_chains"] == 3
    assert record.figures["llc_mcse"] is None
    assert record.figures["llc_bias"] is None


def test_a_target_that_is_no_minimum(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """Chains go down from there: a negative estimate, that names the target's own complaint."""
    config = small(learning_rate=1e-9, sampler_changes={"nbeta": 1000.0, "gamma": 0.0, "step_size": 1e-3})
    swept = run_sweep([config])
    (target,), (record,) = swept.targets, swept.estimates
    assert target.status == "flagged"
    assert record.status == "flagged"
    assert record.figures["llc"] < 0
    assert set(record.reasons) >= {f"target: {reason}" for reason in target.reasons}
    assert any(reason.startswith("negative λ̂ -") for reason in record.reasons)


@pytest.mark.parametrize(
    ("changes", "asked"), [({"steps": 0}, "target.steps=0"), ({"tolerance": 1e3}, "target.tolerance=1000")]
)
def test_a_target_that_is_to_be_no_minimum(
    changes: dict[str, Any], asked: str, small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    """Who asks for a point before the minimum gets a note, and a negative estimate that says what it is."""
    config = small(sampler_changes={"nbeta": 1000.0, "gamma": 0.0, "step_size": 1e-3}, **changes)
    swept = run_sweep([config])
    (target,), (record,) = swept.targets, swept.estimates
    assert (target.status, target.reasons, target.figures["converged"]) == ("ok", (), False)
    (note,) = target.notes
    assert note.startswith(f"w0 is no minimum, as {asked} asks: ")
    assert "gradient norm" in note
    assert record.figures["llc"] < 0
    assert record.notes[0] == f"target: {note}"
    assert "λ̂ is negative: near w0 there are lower losses, and chains go there" in record.notes
    assert not [reason for reason in record.reasons if reason.startswith(("target", "negative"))]


def test_one_chain_diverged(finish: Callable[..., Any]) -> None:
    def spoil(results: Mapping[str, np.ndarray]) -> None:
        results["loss"][2, 11:] = np.nan  # points are 10 steps apart

    record = finish(spoil, draws=60)
    assert record.status == "flagged"
    assert "chain 3 diverged at step 120" in record.reasons
    assert [value is None for value in record.figures["llc_chains"]] == [False, False, True]
    assert record.figures["nan_fraction"] == pytest.approx(51 / 180)
    assert record.figures["llc"] is not None
    assert np.isnan(record.arrays["loss"][2]).any()


def test_a_chain_diverged_while_drawing_from_hmc(finish: Callable[..., Any]) -> None:
    def spoil(results: Mapping[str, np.ndarray]) -> None:
        results["loss"][0, 25:] = np.inf  # 20 of warm-up, then every second step

    assert "chain 1 diverged at step 32" in finish(spoil, "hmc").reasons


def test_the_basin_was_left(finish: Callable[..., Any]) -> None:
    def spoil(results: Mapping[str, np.ndarray]) -> None:
        results["loss"] += 100.0

    record = finish(spoil, draws=60)
    assert any("left the basin: its λ̂" in reason for reason in record.reasons)
    assert len(record.advice) == len(record.reasons) and all(record.advice)


def test_step_size_bias(finish: Callable[..., Any]) -> None:
    """A chain of half the step size that is lower by 0.3 says that the bias is 0.6, and it is taken off."""

    def spoil(results: Mapping[str, np.ndarray]) -> None:
        results["loss"][3:] -= 0.3

    plain, record = finish(lambda results: None, draws=60), finish(spoil, draws=60)
    bias = 30 / math.log(30) * 0.6
    assert record.figures["llc_bias"] == pytest.approx(bias, abs=0.1)
    assert record.figures["llc"] == pytest.approx(plain.figures["llc"] - bias, abs=0.1)
    assert any(reason.startswith("step-size bias +5.") for reason in record.reasons)
    assert not any("bias" in reason for reason in plain.reasons)


def test_bias_chains_of_one_partner_are_as_one(finish: Callable[..., Any]) -> None:
    """They share its noise, so more of them do not make the difference better known than it is."""

    def alike(results: Mapping[str, np.ndarray]) -> None:
        results["loss"][1:] = results["loss"][1]

    few, many = (finish(alike, draws=60, chains=1, bias_chains=number).figures for number in (1, 6))
    assert many["llc_bias_se"] == pytest.approx(few["llc_bias_se"], rel=1e-9)
    assert many["llc_bias"] == pytest.approx(few["llc_bias"], rel=1e-9)


def test_two_rows_at_a_given_temperature(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """n / log n means nothing there, and WBIC has no value."""
    data = TeacherStudentData(n_data=2, n_test=1, input_dim=2)
    (record,) = run_sweep([small(data=data, sampler_changes={"nbeta": 5.0})]).estimates
    assert record.figures["llc"] is not None and record.figures["wbic"] is None


def test_bias_chains_that_diverged_leave_the_estimate_alone(finish: Callable[..., Any]) -> None:
    def spoil(results: Mapping[str, np.ndarray]) -> None:
        results["loss"][3:] = np.nan

    record = finish(spoil, draws=60)
    assert record.figures["llc"] is not None
    assert record.figures["llc_bias"] is None
    assert not any("diverged" in reason for reason in record.reasons)


def test_low_acceptance(finish: Callable[..., Any]) -> None:
    def spoil(results: Mapping[str, np.ndarray]) -> None:
        results["acceptance"][:] = np.array([[0.01], [0.02], [0.03]])

    record = finish(spoil, "hmc", draws=100)
    assert record.figures["acceptance"] == pytest.approx(0.02)
    assert "acceptance 0.02 < 0.1" in record.reasons


def test_long_traces_are_thinned(finish: Callable[..., Any]) -> None:
    """To a cap, evenly, the last point kept; figures are of all points all the same."""
    record = finish(lambda results: None, draws=3001, bias_chains=0)
    loss, spent = record.arrays["loss"], record.arrays["full_gradients"]
    assert loss.shape == (3, len(spent))
    assert TRACE_POINTS / 2 < len(spent) <= TRACE_POINTS
    assert spent[-1] == 3003.0
    assert len(set(np.diff(spent))) == 1
    assert record.figures["trace_warmup"] == np.sum(spent <= 2)
    again = estimate_trial(EstimateConfig.model_validate(record.config))
    every = made_up(again)["loss"][:3, 2:]
    assert record.figures["llc"] == pytest.approx(
        record.figures["nbeta"] * (every.mean() - record.figures["L0"]), rel=1e-12
    )
