"""A trial that leaves the finite numbers says so, and its neighbours do not notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def test_one_sampler_of_a_batch(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    steps = (1e-3, 1e3, 1e-4)
    asked = [small(sampler_changes={"step_size": step_size}) for step_size in steps]
    swept = run_sweep(asked)
    lost = swept.estimates[1]
    assert lost.status == "diverged"
    words = lost.reasons[-1].split()
    assert lost.reasons[-1].startswith("every chain diverged, at step")
    trace = swept.traces(1)
    first = np.argmax(~np.isfinite(trace), axis=1)
    thinning = asked[1].sampler.thinning
    assert int(words[-1]) == thinning * (first.max() + 1)
    assert lost.figures["llc"] is None
    assert lost.figures["llc_chains"] == [None] * 3
    assert lost.figures["nan_fraction"] == 1.0

    without = run_sweep([asked[0], asked[2]])
    for trial_id in without.plan.estimates:
        assert swept.record(trial_id).status in ("ok", "flagged")
        assert swept.outcome(trial_id) == without.outcome(trial_id)


@pytest.mark.slow
def test_a_target(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    asked = [
        small(sampler, target_seed=seed, learning_rate=rate, optimizer="sgd")
        for seed, rate in ((1, 1e6), (2, 1e-2))
        for sampler in ("sgld", "hmc")
    ]
    swept = run_sweep(asked)
    lost, sound = swept.targets
    assert lost.status == "diverged"
    (reason,) = lost.reasons
    assert reason.startswith("training diverged at step ")
    assert 0 < int(reason.split()[-1]) <= 40
    assert lost.figures["loss_train"] is None
    assert not lost.figures["converged"]
    for record in swept.estimates[:2]:
        assert record.status == "diverged"
        assert record.reasons[0] == f"target: {reason}"
        assert record.figures["llc"] is None
    assert sound.status in ("ok", "flagged")
    for record in swept.estimates[2:]:
        assert record.status in ("ok", "flagged")
        assert record.figures["llc"] is not None
    alone = run_sweep(asked[2:])
    for trial_id in (*alone.plan.targets, *alone.plan.estimates):
        assert swept.outcome(trial_id) == alone.outcome(trial_id)


@pytest.mark.parametrize("sampler", ["sgld", "hmc"])
def test_records_of_what_diverged_are_plain_json(
    sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    swept = run_sweep([small(sampler, target_seed=1, learning_rate=1e6, optimizer="sgd")])
    for record in (*swept.targets, *swept.estimates):
        text = swept.store.paths.record(record.id).read_text()
        assert json.loads(text, parse_constant=pytest.fail)["status"] == "diverged"
