"""One compilation a group and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sweepflow.samplers.kernels import import_blackjax
from sweepflow.schema.model import MlpModel

MODELS = (MlpModel(widths=(2,)), MlpModel(widths=(2, 2)))


def asked(small: Callable[..., Any], seeds: tuple[int, int], **changes: Any) -> list[Any]:
    return [
        small(
            sampler,
            model=model,
            target_seed=seed,
            data_seed=seed,
            sampler_changes={"draws": 6, "seed": seed, **changes},
        )
        for model in MODELS
        for seed in seeds
        for sampler in ("sgld", "hmc")
    ]


@pytest.mark.slow
def test_one_a_group_whatever_the_seeds(
    small: Callable[..., Any], run_sweep: Callable[..., Any], compilations: list[str]
) -> None:
    """Planning, data, and recording compile nothing: every compilation is a batch's."""
    import_blackjax()  # which computes a constant, once a process
    compilations.clear()
    first = run_sweep(asked(small, (1, 2)))
    batches = first.plan.batches_of("target") + first.plan.batches_of("llc")
    assert len(batches) == 6 == len({batch.label for batch in batches})
    assert len(compilations) == 6
    compiled = [record.seconds["compile"] > 0 for record in (*first.targets, *first.estimates)]
    assert all(compiled)

    again = run_sweep(asked(small, (3, 4), gamma=3.0, nbeta=5.0))
    assert len(again.finished) == 6
    assert len(compilations) == 6
    assert not any(record.seconds["compile"] for record in (*again.targets, *again.estimates))


def test_a_calibration_is_one_program(
    small: Callable[..., Any], run_sweep: Callable[..., Any], compilations: list[str]
) -> None:
    swept = run_sweep(
        [
            small(
                target_seed=seed,
                sampler_changes={"step_size": step_size, "gamma": gamma, "draws": 5, "chains": 2},
            )
            for seed in (1, 2)
            for step_size in (1e-5, 1e-4, 1e-3, 3e-3)
            for gamma in (1.0, 10.0)
        ]
    )
    assert [len(batch) for batch in swept.finished] == [2, 16]
    assert len(compilations) <= 2  # the target's may be there from another test
    assert len({record.figures["llc"] for record in swept.estimates}) == 16


def test_even_batches_share_a_program(
    small: Callable[..., Any], run_sweep: Callable[..., Any], compilations: list[str]
) -> None:
    """Seven trials in batches of three: three batches, the last one padded, not compiled anew."""
    swept = run_sweep(
        [
            small(sampler_changes={"seed": seed, "draws": 4, "warmup": 10, "chains": 1}, batch_size=3)
            for seed in range(7)
        ]
    )
    assert [len(batch) for batch in swept.finished] == [1, 3, 3, 1]
    assert len(compilations) <= 2
    seconds = [record.seconds["compile"] > 0 for record in swept.estimates]
    assert seconds == [True] * 3 + [False] * 4
