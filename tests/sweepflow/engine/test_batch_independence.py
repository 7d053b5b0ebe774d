"""A trial's record is the same to the last bit, whatever batch it runs in: one row a sampler, one an
optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SAMPLERS = ("sgld", "sgld_auto", "sgld_rmsprop", "sgld_adam", "sgnht", "hmc", "hmc_auto", "nuts", "mclmc")
"""Those that end where their own draws are enough leave their batch at different points."""
TRAININGS = [("adam", "cosine", None), ("adamw", "constant", 8), ("sgd", "cosine", 8)]
"""Every optimizer, schedule and batching; all twelve would compile for a minute and a half."""
COMPANIONS = [(3, 0), (1, 7), (1, 0)]
"""Seed of target and data of three trials: other seeds, other data, and the last as it is alone."""


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_estimates(sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """Two batches of two, the second padded: against each trial alone in a program of its own."""
    asked = [small(sampler, target_seed=t, data_seed=d, batch_size=2) for t, d in COMPANIONS]
    together = run_sweep(asked)
    assert [len(batch) for batch in together.finished] == [2, 1, 2, 1]
    for config in asked:
        alone = run_sweep([config])
        for trial_id in (*alone.plan.targets, *alone.plan.estimates):
            assert alone.outcome(trial_id) == together.outcome(trial_id)


@pytest.mark.slow
def test_a_batch_of_everything(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """One batch, in two orders, at several samplers' settings: against each trial alone."""
    asked = [
        small("sgld", target_seed=t, data_seed=d, sampler_changes={"step_size": step_size, "seed": t})
        for t, d in COMPANIONS
        for step_size in (1e-3, 1e-4)
    ]
    together, backwards = run_sweep(asked), run_sweep(asked[::-1])
    assert [len(batch) for batch in together.finished] == [3, 6]
    assert set(together.plan.estimates) == set(backwards.plan.estimates)
    for trial_id in (*together.plan.targets, *together.plan.estimates):
        assert together.outcome(trial_id) == backwards.outcome(trial_id)
    for config in asked[::2]:
        alone = run_sweep([config])
        for trial_id in (*alone.plan.targets, *alone.plan.estimates):
            assert alone.outcome(trial_id) == together.outcome(trial_id)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "schedule", "batch_size"), TRAININGS)
def test_targets(
    optimizer: str,
    schedule: str,
    batch_size: int | None,
    small: Callable[..., Any],
    run_sweep: Callable[..., Any],
) -> None:
    """One batch of three, padded to four places on two devices: against each target alone."""
    training = {"optimizer": optimizer, "schedule": schedule, "rows_a_step": batch_size, "weight_decay": 0.01}
    asked = [small(target_seed=t, data_seed=d, **training) for t, d in COMPANIONS]
    together = run_sweep(asked, targets_only=True)
    assert [len(batch) for batch in together.finished] == [3]
    for config in asked:
        alone = run_sweep([config], targets_only=True)
        (trial_id,) = alone.plan.targets
        assert alone.outcome(trial_id) == together.outcome(trial_id)


@pytest.mark.slow
def test_another_number_of_devices(
    small: Callable[..., Any], run_sweep: Callable[..., Any], run_elsewhere: Callable[..., Any]
) -> None:
    """What one machine has recorded, a machine with other devices would have recorded.

    One sampler stands for all: which program runs on how many devices is not the sampler's affair. HMC makes
    most of a difference in rounding.
    """
    asked = [small("hmc", target_seed=t, data_seed=d) for t, d in COMPANIONS[1:]]
    here = run_sweep(asked)
    count = here.devices + 1
    there = run_elsewhere(asked, XLA_FLAGS=f"--xla_force_host_platform_device_count={count}")
    assert there.devices == count
    for trial_id in (*here.plan.targets, *here.plan.estimates):
        assert here.outcome(trial_id) == there.outcome(trial_id)
