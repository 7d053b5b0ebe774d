"""The `sweep` flow from Python: what it leaves in the store, and what Prefect says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepflow import sweep
from sweepflow.errors import ConfigError, IncompleteError
from sweepflow.storage.reruns import ask_again
from sweepflow.storage.store import Store
from sweepflow.trials.result import MANIFEST, TrialsSweep, load_sweep

pytestmark = [pytest.mark.server, pytest.mark.slow]

DIGITS = ("workload=digits_mlp", "model.widths=[8]", "epochs=2")


def here(store: Store, *overrides: str) -> list[str]:
    """Overrides of a small sweep in this store, whose path has a quote in it."""
    return [*overrides, f"store='{store.root}'".replace("researcher's", r"researcher\'s")]


def events(found: TrialsSweep) -> list[str]:
    lines = (found.directory / MANIFEST).read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_a_sweep_is_all_in_prefect_and_again_from_the_store(prefect: Any, store: Store) -> None:
    overrides = here(store, *DIGITS, "optimizer=sgd,adam", "learning_rate=0.01,0.1,1000000.0", "seed=1,2")
    found = sweep(overrides=overrides)

    assert isinstance(found, TrialsSweep) and found.sound
    assert len(found.trials) == 12
    statuses = {record.config["learning_rate"]: set() for record in found.trials}
    for record in found.trials:
        statuses[record.config["learning_rate"]].add(record.status)
    assert statuses[0.01] == {"ok"}
    seen = prefect.see(ended=2)
    assert seen.run.state.name == "Completed"
    assert seen.run.name.startswith("sweep workload=digits_mlp")
    assert seen.names() == [
        f"train: {optimizer} on mlp 8 d=610 batch=128, batch 1 of 1, 6 trials"
        for optimizer in ("adam", "sgd")
    ]
    assert (
        "trials 12/12, 0 from the store, best validation_loss"
        in seen.artifact("sweep-progress")["description"]
    )
    rows = json.loads(seen.artifact("sweep-results")["data"])
    assert len(rows) == 6 and {row["n"] for row in rows} == {2}
    assert rows[0]["mean"] == min(row["mean"] for row in rows if row["mean"] is not None)
    for name in ("report.html", "runs.csv", "runs.parquet", "configurations.csv", "best.yaml"):
        assert (found.directory / name).stat().st_size > 100, name

    again = sweep(overrides=overrides)
    assert prefect.see().tasks == []
    assert [record.id for record in again.trials] == [record.id for record in found.trials]
    assert events(found) == ["started", "ended", "started", "ended"]
    loaded = load_sweep(store, found.name)
    assert loaded.best == found.best and loaded.command == found.command


def test_a_rerun_replaces_every_record_and_an_interrupted_one_goes_on(prefect: Any, store: Store) -> None:
    overrides = here(store, *DIGITS, "learning_rate=0.01,0.1,0.2")

    def written(found: TrialsSweep) -> list[bytes]:
        return [store.paths.record(trial.id).read_bytes() for trial in found.trials]

    before = sweep(overrides=overrides)
    first = written(before)
    again = sweep(overrides=overrides, rerun=True)
    (task,) = prefect.see(ended=1).tasks
    assert task.name.endswith("3 trials") and task.state.name == "Completed", "not what Prefect remembers"
    assert "--rerun" in again.command and not set(first) & set(written(again))
    assert [t.figures["validation_loss"] for t in again.trials] == [
        t.figures["validation_loss"] for t in before.trials
    ]
    ids = [trial.id for trial in again.trials]
    ask_again(store.paths, ids, "a run that was killed")
    store.put(replace(again.trials[0], seconds={"run": 1.0}, arrays=store.arrays(ids[0])))
    second = written(again)
    sweep(overrides=overrides, rerun=True)
    (task,) = prefect.see(ended=1).tasks
    assert task.name.endswith("2 trials")
    assert [a == b for a, b in zip(second, written(again), strict=True)] == [True, False, False]


def test_repeats_of_a_seed_that_the_program_is_fed_are_trials_of_their_own(
    prefect: Any, store: Store, tmp_path: Path
) -> None:
    lab = tmp_path / "lab.py"
    lab.write_text(
        "import jax, sweepflow\n"
        "class Config(sweepflow.Config):\n"
        "    seed: sweepflow.Traced[int] = 0\n"
        "def run(config, inputs, key):\n"
        "    return {'loss': jax.random.normal(jax.random.key(config.seed), ()), 'seed': config.seed}\n"
    )
    found = sweep(overrides=here(store, f"workload='{lab}'"), repeats=4)
    assert len({trial.figures["loss"] for trial in found.trials}) == 4
    assert all(trial.figures["seed"] == trial.config["seed"] for trial in found.trials)


def test_a_longer_design_runs_only_what_is_new(prefect: Any, store: Store) -> None:
    overrides = here(store, *DIGITS, "learning_rate=tag(log,interval(1e-3,1e-1))")
    short = sweep(overrides=overrides, samples=4)
    long = sweep(overrides=overrides, samples=16)
    assert [t.id for t in long.trials][:4] == [t.id for t in short.trials]
    (task,) = prefect.see(ended=1).tasks
    assert task.name.endswith("12 trials")


def test_halving_keeps_the_best_third_and_gives_their_full_results(prefect: Any, store: Store) -> None:
    rates = "learning_rate=0.3,0.1,0.03,0.01,0.003,0.001,0.0003,0.0001,0.00003"
    overrides = here(store, "workload=digits_mlp", "model.widths=[8]", "epochs=9", rates)
    halved = sweep(overrides=overrides, halving=3)

    assert halved.sound and len(halved.trials) == 9
    rungs = [record.figures["rung"] for record in halved.trials]
    assert sorted(rungs) == [1] * 6 + [2] * 2 + [3]
    assert [record.figures["epochs_run"] for record in halved.trials] == [
        {1: 1, 2: 3, 3: 9}[rung] for rung in rungs
    ]
    (winner,) = [record for record in halved.trials if record.figures["rung"] == 3]
    assert halved.best is not None and halved.best["learning_rate"] == winner.config["learning_rate"]
    assert any("3 of 9 go on" in note for note in halved.notes)

    whole = sweep(overrides=here(store, *overrides[:3], f"learning_rate={winner.config['learning_rate']}"))
    assert [t.id for t in whole.trials] == [winner.id]
    assert prefect.see().tasks == [], "the survivor's result is that of the plain trial"
    assert sweep(overrides=overrides, halving=3).rows() == halved.rows()
    assert prefect.see().tasks == []
    assert load_sweep(store, halved.name).rows() == halved.rows()

    full = sweep(overrides=overrides)
    assert full.name != halved.name, "a report of its own"
    assert full.view.varying == ("learning_rate",), "how a trial was run does not tell it apart"


def test_halving_goes_by_the_mean_over_repeats(prefect: Any, store: Store) -> None:
    overrides = here(
        store, "workload=digits_mlp", "model.widths=[8]", "epochs=4", "learning_rate=0.1,0.01,0.001"
    )
    found = sweep(overrides=overrides, halving=2, repeats=2)
    rungs = {}
    for record in found.trials:
        rungs.setdefault(record.config["learning_rate"], set()).add(record.figures["rung"])
    assert sorted(map(sorted, rungs.values())) == [[1], [2], [3]], "repeats go on together"
    assert found.best is not None and rungs[found.best["learning_rate"]] == {3}


def test_a_rung_that_fails_ends_the_halving(prefect: Any, store: Store) -> None:
    overrides = here(
        store, "workload=digits_mlp", "model.widths=[8]", "epochs=9", "learning_rate=0.1,0.01,0.001"
    )
    (store.root / "trials").parent.mkdir(parents=True, exist_ok=True)
    (store.root / "trials").write_text("where records should go there is a file")
    with pytest.raises(IncompleteError, match="3 of 3 trials have no result"):
        sweep(overrides=overrides, halving=3)
    names = [task.name for task in prefect.see().tasks]
    assert len(names) == 2 and not any("Cached" in name for name in names), "one rung, in calls of two"
    (store.root / "trials").unlink()
    assert sweep(overrides=overrides, halving=3).sound


@pytest.mark.parametrize("mode", ["sequential", "auto"])
def test_every_mode_gives_the_same_figures(mode: Any, prefect: Any, tmp_path: Path) -> None:
    asked = [*DIGITS, "model.widths=[6],[8]", "learning_rate=0.01,0.1,0.05"]
    asked.remove("model.widths=[8]")
    figures = []
    for name in ("batched", mode):
        found = sweep(overrides=[*asked, f"store={tmp_path / name}"], mode=name)
        assert found.sound and len(found.trials) == 6
        figures.append({t.id: t.figures["validation_loss"] for t in found.trials})
    assert figures[1] == pytest.approx(figures[0], rel=1e-4)
    if mode == "auto":
        assert any(note.startswith("mode auto: ") and "padded" in note for note in found.notes)


def test_widths_share_one_program(prefect: Any, store: Store) -> None:
    overrides = here(store, *DIGITS[::2], "model.widths=[4],[8],[6]")
    found = sweep(overrides=overrides, pad_widths=True)
    (task,) = prefect.see(ended=1).tasks
    assert task.name.endswith("3 trials") and found.sound
    assert [t.figures["num_params"] for t in found.trials] == [75 * 4 + 10, 75 * 8 + 10, 75 * 6 + 10]


def test_a_program_that_fails_is_a_failed_trial_and_the_sweep_is_complete(
    prefect: Any, store: Store, tmp_path: Path
) -> None:
    script = tmp_path / "some program.py"
    script.write_text("import sys\nx = float(sys.argv[1].split('=')[1])\nprint(f'METRIC loss={1 / x}')\n")
    overrides = here(
        store, "workload=command", f"command='python \"{script}\"'", "metrics=[loss]", "args.x=1,0,4"
    )
    found = sweep(overrides=overrides)
    assert [t.status for t in found.trials] == ["ok", "failed", "ok"]
    assert "ZeroDivisionError" in found.trials[1].reasons[0]
    assert not found.sound and found.best is not None and found.best["args"] == {"x": 4}
    again = sweep(overrides=overrides)
    assert [t.status for t in again.trials] == ["ok", "failed", "ok"]
    (task,) = prefect.see(ended=1).tasks
    assert task.name.endswith("1 trial"), "a failed trial is run again, and it alone"


@pytest.mark.parametrize(
    ("overrides", "options", "words"),
    [
        (["learning_rate=tag(log,interval(0,1))"], {}, "learning_rate: log_uniform"),
        (["space=optimizer"], {"samples": 0}, "at least one sample"),
        (["learning_rte=0.1"], {}, "did you mean 'learning_rate'"),
        (["learning_rate=0.1"], {"metric": "validation_los"}, "did you mean 'validation_loss'"),
        (["learning_rate=0.1"], {"halving": 1}, "keeps one in"),
        (["workload=landscape", "x=1,2"], {"halving": 3}, "nothing to halve"),
        (["workload=landscape", "x=1,2"], {"pad_widths": True}, "no widths to pad"),
        (["workload=mnist_cnn"], {}, "data.path"),
        (["seed=1,2"], {"repeats": 2}, "either given or drawn"),
    ],
)
def test_what_cannot_be_run_is_refused_before_work(
    overrides: list[str], options: dict[str, Any], words: str, prefect: Any, store: Store
) -> None:
    with pytest.raises(ConfigError, match=words):
        sweep(overrides=here(store, *overrides), **options)
    assert not list(store.root.glob("trials/**/*.json"))
    assert prefect.see().run.state.name == "Failed"


def test_a_batch_that_fails_fails_the_sweep_and_the_rest_is_kept(
    prefect: Any, store: Store, tmp_path: Path
) -> None:
    module = tmp_path / "sometimes.py"
    module.write_text(
        "import sweepflow\n"
        "class Config(sweepflow.Config):\n    size: int = 1\n    x: sweepflow.Traced[float] = 1.0\n"
        "VERSION = 1\n"
        "def run(config, inputs, key):\n"
        "    if config.size == 2: raise RuntimeError('a size that does not work')\n"
        "    return {'loss': config.x * config.size}\n"
    )
    with pytest.raises(IncompleteError, match="a size that does not work"):
        sweep(overrides=here(store, f"workload='{module}'", "size=1,2,3", "x=1.0,2.0"))
    assert prefect.see(ended=3).run.state.name == "Failed"
    assert len(list(store.records("trl"))) == 4
