"""A run that is cut, anywhere and however often, ends in the same bits as one in one go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweepflow.engine.run import run_batch
from sweepflow.engine.segments import LeavingError, Pace, StoppedError
from sweepflow.estimates.plan import make_plan
from sweepflow.estimates.workload import LLC
from sweepflow.samplers import mclmc_tuning
from sweepflow.storage.checkpoints import CheckpointWarning, stale_checkpoints
from sweepflow.storage.store import Store
from sweepflow.targets.workload import TARGET

SAMPLERS = ("sgld", "sgld_auto", "sgld_rmsprop", "sgld_adam", "sgnht", "hmc", "hmc_auto", "nuts", "mclmc")
PAIR = ((3, 0), (1, 7))
"""Seed of target and data, as in test_batch_independence: the programs are the same."""
TRAININGS = [("adam", "cosine", None), ("adamw", "constant", 8), ("sgd", "cosine", 8)]
"""Also as there."""
KILLED = """
import os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
from sweepflow.engine.devices import configure
configure()
import jax
jax.config.update("jax_numpy_dtype_promotion", "strict")
from sweepflow.engine.run import run_batch
from sweepflow.engine.segments import Pace, StoppedError
from sweepflow.estimates.plan import make_plan
from sweepflow.estimates.workload import LLC
from sweepflow.schema.llc import LlcConfig
from sweepflow.storage.store import Store

store = Store(Path(sys.argv[1]))
config = LlcConfig.model_validate_json(Path(sys.argv[2]).read_text())
(batch,) = make_plan([config], store).batches_of("llc")
calls = iter(range(1000))
try:
    run_batch(LLC, batch.trials, store, size=batch.size, datasets=batch.datasets,
              pace=Pace(call_seconds=0.0, stop=lambda: next(calls) == 7))
except StoppedError as cut:
    assert cut.done == cut.advanced == 7

def die(done, of):
    if done == 12:
        os.kill(os.getpid(), signal.SIGKILL)

run_batch(LLC, batch.trials, store, size=batch.size, datasets=batch.datasets,
          pace=Pace(call_seconds=0.0, on_points=die))
"""


def pace_of(points: int) -> Pace:
    """One point a call, and stop after some."""
    calls = iter(range(points + 1))
    return Pace(call_seconds=0.0, stop=lambda: next(calls) == points)


def run_cut(workload: Any, batch: Any, store: Store, cuts: Sequence[int]) -> None:
    """Run a batch, stopped so many points after it was taken up each time, and then to its end."""
    settings = {"size": batch.size, "datasets": batch.datasets}
    done = 0
    for points in cuts:
        with pytest.raises(StoppedError) as cut:
            run_batch(workload, batch.trials, store, pace=pace_of(points), **settings)
        done += points
        assert (cut.value.done, cut.value.advanced) == (done, points)
        assert {path.stem for path in store.paths.checkpoints.glob("*/*")} == {t.id for t in batch.trials}
        assert not store.known(trial.id for trial in batch.trials)
        assert not stale_checkpoints(store)
    records = run_batch(workload, batch.trials, store, **settings)
    assert [record.id for record in records] == [trial.id for trial in batch.trials]
    assert not list(store.paths.checkpoints.glob("*/*"))


def cuttable(trial: Any) -> int:
    """Points of a trial before which it does not end, of its own accord either."""
    sampler = trial.config.sampler
    return LLC.points(trial.config) if sampler.is_sized else {"sgld": 230, "hmc": 90}[sampler.kind]


def random_cuts(points: int, seed: int) -> list[int]:
    """Three places to cut at, as distances."""
    places = np.sort(np.random.default_rng(seed).choice(np.arange(1, points), 3, replace=False))
    return [int(distance) for distance in np.diff(places, prepend=0)]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_cut_at_random(
    sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any], compilations: list[str]
) -> None:
    asked = [small(sampler, target_seed=t, data_seed=d) for t, d in PAIR]
    whole = run_sweep(asked)
    compilations.clear()
    for seed in range(3):
        targets = run_sweep(asked, targets_only=True)
        (batch,) = targets.plan.batches_of("llc")
        run_cut(LLC, batch, targets.store, random_cuts(cuttable(batch.trials[0]), seed))
        for trial_id in whole.plan.estimates:
            assert targets.outcome(trial_id) == whole.outcome(trial_id)
    assert not compilations, "the program of the whole run is that of its segments"


@pytest.mark.slow
def test_mclmc_cut_in_each_stage_of_its_tuning(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    """After the first step, before and after the last of each stage, and before the first draw."""
    config = small("mclmc")
    whole = run_sweep([config])
    swept = run_sweep([config], targets_only=True)
    (batch,) = swept.plan.batches_of("llc")
    ends = np.cumsum(mclmc_tuning.plan(config.sampler.warmup))
    assert len(set(ends)) == 4
    assert LLC.points(batch.trials[0].config) - ends[-1] == config.sampler.draws * config.sampler.thinning
    places = sorted({1, *ends, *(ends - 1)})
    run_cut(LLC, batch, swept.store, [int(distance) for distance in np.diff(places, prepend=0)])
    for trial_id in whole.plan.estimates:
        assert swept.outcome(trial_id) == whole.outcome(trial_id)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "schedule", "batch_size"), TRAININGS)
def test_targets_cut_at_random(
    optimizer: str,
    schedule: str,
    batch_size: int | None,
    small: Callable[..., Any],
    run_sweep: Callable[..., Any],
    store: Store,
) -> None:
    """One of them stops early, at a tolerance that it meets on the way."""
    settings: dict[str, Any] = {"optimizer": optimizer, "schedule": schedule, "rows_a_step": batch_size}
    asked = [small(target_seed=seed, tolerance=tol, **settings) for seed, tol in ((1, 0.0), (2, 10.0))]
    whole = run_sweep(asked, targets_only=True)
    assert [record.figures["steps"] for record in whole.targets] == [40, 1]
    cut = type(whole)(make_plan(asked, store), store)
    (batch,) = cut.plan.batches_of("target")
    run_cut(TARGET, batch, store, random_cuts(40, 0))
    for trial_id in whole.plan.targets:
        assert cut.outcome(trial_id) == whole.outcome(trial_id)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nuts", "mclmc"])
def test_killed_and_gone_on_with_by_another_process(
    sampler: str, small: Callable[..., Any], run_sweep: Callable[..., Any], tmp_path: Path
) -> None:
    """Five points after the checkpoint: those are run again."""
    config = small(sampler)
    whole = run_sweep([config])
    lost = run_sweep([config], targets_only=True)
    asked = tmp_path / "asked for.json"
    asked.write_text(config.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(lost.store.root), str(asked)],
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    seen: list[tuple[int, int]] = []
    run_sweep([config], lost.store, pace=Pace(call_seconds=0.0, on_points=lambda *at: seen.append(at)))
    points = LLC.points(next(iter(whole.plan.estimates.values())).config)
    assert seen == [(point, points) for point in range(8, points + 1)]
    for trial_id in whole.plan.estimates:
        assert lost.outcome(trial_id) == whole.outcome(trial_id)


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(4, 30), (30, 0)])
def test_trials_that_are_not_equally_far(
    cuts: tuple[int, int], small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    """One was stopped early, the other later or never begun: together they end as each alone."""
    asked = [small("hmc", target_seed=t, data_seed=d) for t, d in PAIR]
    whole = run_sweep(asked)
    swept = run_sweep(asked, targets_only=True)
    for points, config in zip(cuts, asked, strict=True):
        if not points:
            continue
        (batch,) = make_plan([config], swept.store).batches_of("llc")
        with pytest.raises(StoppedError):
            run_batch(LLC, batch.trials, swept.store, size=1, datasets=1, pace=pace_of(points))
    (batch,) = make_plan(asked, swept.store).batches_of("llc")
    stored: list[str] = []
    records = run_batch(
        LLC,
        batch.trials,
        swept.store,
        size=2,
        datasets=batch.datasets,
        on_record=lambda record: stored.append(record.id),
    )
    ids = [trial.id for trial in batch.trials]
    assert [record.id for record in records] == ids
    assert sorted(stored) == sorted(ids)
    for trial_id in whole.plan.estimates:
        assert swept.outcome(trial_id) == whole.outcome(trial_id)


@pytest.mark.slow
def test_leaving_before_the_walltime_and_going_on(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    changes = {"draws": 6000, "bias_chains": 0, "chains": 2}
    config = small("sgld", sampler_changes=changes)
    whole = run_sweep([config])
    (record,) = whole.estimates
    swept = run_sweep([config], targets_only=True)
    (batch,) = swept.plan.batches_of("llc")
    settings: dict[str, Any] = {"size": batch.size, "datasets": batch.datasets}

    with pytest.raises(LeavingError, match="at point 0 of 6002") as late:
        run_batch(LLC, batch.trials, swept.store, pace=Pace(leave_at=time.time()), **settings)
    assert late.value.advanced == 0
    assert not list(swept.store.paths.checkpoints.glob("*/*")), "nothing was done"

    room, pauses = record.seconds["run"] / 3, []
    for _ in range(1000):
        try:
            pace = Pace(leave_at=time.time() + room, call_seconds=room / 10)
            (found,) = run_batch(LLC, batch.trials, swept.store, pace=pace, **settings)
        except LeavingError as left:
            pauses.append(left)
            room *= 1.1  # another load on the machine may have made even one call too long
        else:
            break
    assert [left.done for left in pauses] == list(np.cumsum([left.advanced for left in pauses]))
    assert 0 < pauses[-1].done < 6002
    assert swept.outcome(record.id) == whole.outcome(record.id)
    assert found.seconds["run"] > room / 10, "the time of the earlier processes counts"


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_is_passed_over(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    config = small("hmc")
    whole = run_sweep([config])
    swept = run_sweep([config], targets_only=True)
    (batch,) = swept.plan.batches_of("llc")
    settings: dict[str, Any] = {"size": batch.size, "datasets": batch.datasets}
    (trial_id,) = whole.plan.estimates
    path = swept.store.paths.checkpoint(trial_id)
    for spoil in (lambda content: content[:-100], lambda content: content[:-3] + b"abc"):
        with pytest.raises(StoppedError):
            run_batch(LLC, batch.trials, swept.store, pace=pace_of(9), **settings)
        path.write_bytes(spoil(path.read_bytes()))
        with pytest.warns(CheckpointWarning, match="torn"):
            run_batch(LLC, batch.trials, swept.store, **settings)
        assert swept.outcome(trial_id) == whole.outcome(trial_id)
        swept.store.remove(trial_id)
    # Narrower vectors are another program.
    with pytest.raises(StoppedError):
        run_batch(LLC, batch.trials, swept.store, pace=pace_of(9), width=1, **settings)
    with pytest.warns(CheckpointWarning, match="another program"):
        run_batch(LLC, batch.trials, swept.store, **settings)
    assert swept.outcome(trial_id) == whole.outcome(trial_id)
