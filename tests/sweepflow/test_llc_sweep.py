"""A finished sweep: what it counts as sound, and the files it leaves."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from sweepflow.compose import compose_llc
from sweepflow.errors import StoreError
from sweepflow.estimates.plan import LlcPlan, make_plan
from sweepflow.llc_sweep import LlcSweep
from sweepflow.storage.record import Record, Status
from sweepflow.storage.store import Store

OVERRIDES = ["data=diabetes", "target.seed=1,2", "sampler=sgld,hmc", "name=a-sweep"]


def target_record(plan: LlcPlan, trial_id: str, **changes: Any) -> Record:
    """A target as its workload records it."""
    figures = {
        "task": "regression",
        "n": 354,
        "n_test": 88,
        "num_params": 501,
        "steps": 5000,
        "loss_train": 0.21,
        "loss_test": 0.35,
        "accuracy_train": None,
        "accuracy_test": None,
        "grad_norm": 4e-5,
        "converged": True,
    }
    return Record(
        id=trial_id,
        workload="target",
        version=1,
        config=plan.targets[trial_id].config.model_dump(mode="json"),
        figures=figures,
        **{"status": "ok", "reasons": (), **changes},
    )


def estimate_record(plan: LlcPlan, trial_id: str, target: str, **changes: Any) -> Record:
    """An estimate as its workload records it, with traces that wander around L₀ + λ̂/nβ."""
    trial = plan.estimates[trial_id]
    nbeta = trial.config.sampler.nbeta
    assert nbeta is not None
    walk = np.random.default_rng(int(trial_id[-4:], 16)).normal(size=(4, 60))
    loss = 0.21 + (12 + walk) / nbeta
    llc = nbeta * (loss[:, 20:].mean(axis=1) - 0.21)
    figures = {
        "target_id": target,
        "n": 354,
        "num_params": 501,
        "nbeta": nbeta,
        "gamma": trial.config.sampler.gamma,
        "L0": 0.21,
        "llc": float(llc.mean()),
        "llc_mcse": 0.1,
        "llc_low": float(llc.mean()) - 0.2,
        "llc_high": float(llc.mean()) + 0.2,
        "llc_chains": llc.tolist(),
        "llc_bias": None,
        "llc_bias_se": None,
        "ess_mean": 160.0,
        "r_hat": 1.01,
        "acceptance": 0.8,
        "divergences": 0,
        "frozen_chains": 0,
        "nan_fraction": 0.0,
        "step_size": 0.01,
        "full_gradients": 9600.0,
        "trace_warmup": 20,
    }
    return Record(
        id=trial_id,
        workload="llc",
        version=1,
        config=trial.config.model_dump(mode="json"),
        figures=figures,
        seconds={"compile": 1.5, "run": 0.5},
        arrays={"loss": loss, "bias_loss": loss[:0], "full_gradients": np.arange(1.0, 61.0)},
        **{"status": "ok", "reasons": (), **changes},
    )


@pytest.fixture
def finished(store: Store) -> LlcSweep:
    """A sweep of 2 targets × 2 samplers, with all its records in the store."""
    plan = make_plan(compose_llc(OVERRIDES), store)
    by_config = {trial.config: trial_id for trial_id, trial in plan.targets.items()}
    targets = {trial_id: target_record(plan, trial_id) for trial_id in plan.targets}
    estimates = [
        estimate_record(plan, trial_id, by_config[trial.config.target])
        for trial_id, trial in plan.estimates.items()
    ]
    for record in [*targets.values(), *estimates]:
        store.put(record)
    return LlcSweep(
        name=plan.name,
        command="sweepflow llc " + " ".join(OVERRIDES),
        directory=store.paths.sweep(plan.name),
        targets=targets,
        estimates=estimates,
    )


def test_it_leaves_a_manifest_tables_and_a_report(finished: LlcSweep, store: Store) -> None:
    finished.write(store)
    assert {path.name for path in finished.directory.iterdir()} == {
        "manifest.json",
        "results.csv",
        "results.parquet",
        "report.html",
    }
    manifest = json.loads((finished.directory / "manifest.json").read_text())
    assert manifest == {
        "name": "a-sweep",
        "command": finished.command,
        "targets": list(finished.targets),
        "estimates": [record.id for record in finished.estimates],
        "missing": [],
    }
    with (finished.directory / "results.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    table = pyarrow.parquet.read_table(finished.directory / "results.parquet").to_pylist()
    for record, row, cells in zip(finished.estimates, rows, table, strict=True):
        assert row["id"] == cells["id"] == record.id
        assert float(row["llc"]) == cells["llc"] == record.figures["llc"]
        assert cells["target_id"] == record.figures["target_id"]
        assert cells["sampler.kind"] == record.config["sampler"]["kind"]
        assert int(row["target.seed"]) == record.config["target"]["target"]["seed"]
    page = finished.report.read_text()
    assert finished.report == finished.directory / "report.html"
    assert all(record.id in page for record in finished.estimates)


def test_writing_it_again_gives_the_same_files(finished: LlcSweep, store: Store) -> None:
    finished.write(store)
    first = {path.name: path.read_bytes() for path in finished.directory.iterdir()}
    finished.write(store)
    assert {path.name: path.read_bytes() for path in finished.directory.iterdir()} == first


def test_the_store_then_has_every_trial_of_the_plan(finished: LlcSweep, store: Store) -> None:
    plan = make_plan(compose_llc(OVERRIDES), store)
    assert (plan.hits, plan.trials, plan.batches) == (6, 6, [])
    assert [record.id for record in finished.estimates] == list(plan.estimates)


@pytest.mark.parametrize(
    ("status", "sound"), [("ok", True), ("flagged", True), ("diverged", False), ("failed", False)]
)
@pytest.mark.parametrize("stage", ["target", "estimate"])
def test_it_is_sound_where_every_trial_has_finite_numbers(
    finished: LlcSweep, status: Status, sound: bool, stage: str
) -> None:
    reasons = () if status == "ok" else ("for a reason",)
    if stage == "target":
        first, *_ = finished.targets.values()
        targets = {**finished.targets, first.id: replace(first, status=status, reasons=reasons)}
        assert replace(finished, targets=targets).sound is sound
    else:
        first, *rest = finished.estimates
        changed = replace(finished, estimates=[replace(first, status=status, reasons=reasons), *rest])
        assert changed.sound is sound
        assert changed.counts == ({"ok": 4} if status == "ok" else {status: 1, "ok": 3})


def test_a_missing_trial_is_never_sound_and_stands_in_the_manifest(finished: LlcSweep, store: Store) -> None:
    lost, *rest = finished.estimates
    partial = replace(finished, estimates=rest, missing=[lost.id])
    assert finished.sound and not partial.sound
    partial.write(store)
    assert json.loads((partial.directory / "manifest.json").read_text())["missing"] == [lost.id]
    assert len(partial.rows()) == 3


def test_a_directory_that_cannot_be_written_says_so(finished: LlcSweep, store: Store, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        replace(finished, directory=tmp_path / "taken" / "a-sweep").write(store)
