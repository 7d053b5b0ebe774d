"""What a sweep will do, before it does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweepflow.errors import ConfigError, DataError
from sweepflow.estimates.plan import make_plan
from sweepflow.schema.data import FileData
from sweepflow.schema.model import MlpModel
from sweepflow.storage.store import Store

SAMPLERS = ("sgld", "hmc", "mclmc")


def asked(small: Callable[..., Any], **changes: Any) -> list[Any]:
    return [
        small(sampler, target_seed=seed, model=MlpModel(widths=widths), **changes)
        for widths in ((2,), (3,))
        for seed in (1, 2)
        for sampler in SAMPLERS
    ]


def test_n_targets_m_samplers(small: Callable[..., Any], store: Store) -> None:
    plan = make_plan(asked(small), store)
    assert (len(plan.targets), len(plan.estimates)) == (4, 12)
    assert plan.trials == 16
    assert plan.hits == 0
    assert len(plan.batches_of("target")) == 2
    assert len(plan.batches_of("llc")) == 6
    assert len(plan.batches) == 8
    assert {len(batch.trials) for batch in plan.batches_of("target") + plan.batches_of("llc")} == {2}
    labels = [batch.label for batch in plan.batches_of("llc")]
    assert labels[:3] == ["sgld on mlp d=9", "hmc on mlp d=9", "mclmc on mlp d=9"]
    assert list(store.root.glob("**/*")) == [], "planning writes nothing"


def test_a_sampler_axis_does_not_multiply_targets(small: Callable[..., Any], store: Store) -> None:
    steps = [
        small(sampler_changes={"step_size": step, "seed": seed}) for step in (1e-4, 1e-3) for seed in (0, 1)
    ]
    plan = make_plan(steps, store)
    assert (len(plan.targets), len(plan.estimates)) == (1, 4)


def test_nbeta_by_its_name_or_its_number_is_one_estimate(small: Callable[..., Any], store: Store) -> None:
    (by_default,) = make_plan([small()], store).estimates.values()
    number = by_default.config.sampler.nbeta
    assert number == pytest.approx(30 / np.log(30))
    assert list(make_plan([small(sampler_changes={"nbeta": number})], store).estimates) == [by_default.id]


def test_a_duplicate(small: Callable[..., Any], store: Store) -> None:
    with pytest.raises(ConfigError, match="one estimate twice") as caught:
        make_plan([*asked(small), small("hmc", target_seed=2, model=MlpModel(widths=(3,)))], store)
    assert "target.seed=2, sampler hmc" in str(caught.value)


def test_the_name_is_the_trials(small: Callable[..., Any], store: Store) -> None:
    configs = asked(small)
    name = make_plan(configs, store).name
    assert make_plan(configs[::-1], store).name == name
    assert make_plan(configs[1:], store).name != name
    named = configs[0].model_copy(update={"name": "mine"})
    assert make_plan([named], store).name == "mine"


def test_what_is_known_is_not_run_again(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    first = run_sweep([small(target_seed=seed) for seed in (1, 2)])
    same = make_plan([small(target_seed=seed) for seed in (1, 2)], first.store)
    assert same.batches == []
    assert same.hits == same.trials == 4
    assert same.name == first.plan.name

    more = [small(sampler, target_seed=seed) for seed in (1, 2, 3) for sampler in ("sgld", "sgld_adam")]
    plan = make_plan(more, first.store)
    assert plan.hits == 4
    run_again = [t for batch in (*plan.batches_of("target"), *plan.batches_of("llc")) for t in batch.trials]
    assert len(run_again) == 1 + 4
    assert not {trial.id for trial in run_again} & set(plan.known)


@pytest.mark.parametrize("status", ["ok", "flagged", "diverged", "failed"])
def test_only_failures_are_run_again(
    status: str, small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    swept = run_sweep([small(target_seed=seed) for seed in (1, 2)])
    changed = swept.estimates[0]
    swept.store.put(replace(changed, status=status, arrays=swept.store.arrays(changed.id)))
    plan = make_plan([small(target_seed=seed) for seed in (1, 2)], swept.store)
    again = [trial.id for batch in plan.batches_of("llc") for trial in batch.trials]
    assert again == ([changed.id] if status == "failed" else [])
    assert (changed.id in plan.known) == (status != "failed")


def test_a_target_that_was_lost_is_built_again(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    swept = run_sweep([small()])
    (target,) = swept.plan.targets
    swept.store.remove(target)
    plan = make_plan([small()], swept.store)
    assert [trial.id for batch in plan.batches_of("target") for trial in batch.trials] == [target]
    assert plan.batches_of("llc") == []


def test_batch_size(small: Callable[..., Any], store: Store) -> None:
    plan = make_plan([small(target_seed=seed, batch_size=2) for seed in range(5)], store)
    assert [len(batch.trials) for batch in plan.batches_of("llc")] == [2, 2, 1]
    assert {batch.size for batch in plan.batches_of("llc")} == {2}
    assert plan.batches_of("llc")[1].name == "sgld on mlp d=13, batch 2 of 3, 2 trials"


def write_file(path: Path, seed: int) -> FileData:
    rng = np.random.default_rng(seed)
    np.savez(path, x=rng.standard_normal((40, 2)), y=rng.standard_normal(40))
    return FileData(path=str(path))


def test_a_file_is_pinned_by_its_content(small: Callable[..., Any], store: Store, tmp_path: Path) -> None:
    here = write_file(tmp_path / "my data.npz", 0)
    plan = make_plan([small(data=here)], store)
    (trial,) = plan.estimates.values()
    assert isinstance(trial.config.target.data, FileData)
    assert len(trial.config.target.data.sha256) == 64

    (tmp_path / "moved.npz").write_bytes(Path(here.path).read_bytes())
    moved = make_plan([small(data=FileData(path=str(tmp_path / "moved.npz")))], store)
    assert moved.estimates.keys() == plan.estimates.keys(), "where it lies decides nothing"

    write_file(Path(here.path), 1)
    changed = make_plan([small(data=here)], store)
    assert not changed.estimates.keys() & plan.estimates.keys()
    assert not changed.targets.keys() & plan.targets.keys()


def test_a_file_that_is_not_there(small: Callable[..., Any], store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        make_plan([small(data=FileData(path=str(tmp_path / "nothing.npz")))], store)


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"sampler_changes": {"step_size": 1e-40}}, "sampler.step_size=1e-40"),
        ({"sampler_changes": {"b2": 1 - 1e-10}}, "sampler.b2=0.9999999999"),
        (
            {"sampler_changes": {"draws": 10**9}},
            "steps of 2 * (sampler.warmup + sampler.draws * sampler.thinning), for bias chains=2",
        ),
        ({"steps": 2**31}, "target.steps=2147483648"),
        ({"dtype": "float32", "learning_rate": 1e-40}, "target.learning_rate=1e-40"),
    ],
)
def test_numbers_that_a_program_would_see_otherwise_are_refused(
    changes: dict[str, Any], got: str, small: Callable[..., Any], store: Store
) -> None:
    with pytest.raises(ConfigError) as told:
        make_plan([small(**changes)], store)
    assert got in str(told.value) and told.value.allowed and told.value.do
