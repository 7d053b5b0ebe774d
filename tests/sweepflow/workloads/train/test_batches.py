"""A training's record is the same whatever batch it runs in, and one program serves a whole group."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepflow.schema.model import MlpModel
from sweepflow.storage.store import Store
from sweepflow.workloads.train.workload import ENGINE, until

from .conftest import TABLE, of_table

ADAM = {"optimizer": "adam", "schedule": "constant"}
"""One program for most of these tests."""

ELSEWHERE = """
import json, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
from pathlib import Path
from sweepflow.engine.devices import configure
configure()
import jax
jax.config.update("jax_numpy_dtype_promotion", "strict")
from sweepflow.engine.run import run_batch
from sweepflow.storage.store import Store
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.workload import ENGINE, TRAIN
configs = [TrainConfig.model_validate_json(text) for text in json.loads(Path(sys.argv[2]).read_text())]
trials = [TRAIN.trial(config) for config in configs]
run_batch(ENGINE, trials, Store(Path(sys.argv[1])), size=len(trials), datasets=1)
print(jax.local_device_count())
"""


@pytest.mark.slow
def test_the_record_is_the_same_in_every_batch(
    trial: Callable[..., Any], run_trials: Callable[..., Any]
) -> None:
    """Alone and padded, in two orders, by twos, and in a batch of six with other data among them."""
    asked = [
        trial(ADAM, seed=0),
        trial(ADAM, seed=1, learning_rate=0.1),
        trial(ADAM, seed=2, weight_decay=0.1, clip_norm=0.5),
        trial(ADAM, seed=3, label_smoothing=0.2, b1=0.5),
        trial(ADAM, learning_rate=1e-4),
    ]
    data = asked[0].config.data.model_copy(update={"seed": 5})
    other = trial(ADAM, data=data)
    assert ENGINE.program_key(other.config) == ENGINE.program_key(asked[0].config)
    together = run_trials([*asked, other], size=6, datasets=2)
    assert len({str(together.outcome(i)) for i in range(6)}) == 6
    by_twos, backwards, alone = run_trials(asked), run_trials(asked[::-1]), run_trials(asked[:1])
    for i in range(5):
        assert together.outcome(i) == by_twos.outcome(i) == backwards.outcome(4 - i)
    assert alone.outcome() == together.outcome()


@pytest.mark.slow
def test_one_by_one_is_the_same_up_to_rounding(
    trial: Callable[..., Any], run_trials: Callable[..., Any]
) -> None:
    """`sequential` runs one lane of one trial at a time, wherever the program's own width is larger."""
    asked = [trial(ADAM, seed=seed) for seed in range(3)]
    batched, wide = run_trials(asked), run_trials(asked, size=4, width=4)
    for i in range(3):
        assert batched.record(i).figures.keys() == wide.record(i).figures.keys()
        for name, value in batched.record(i).figures.items():
            # 24 steps in float32: a difference in the last bit has not grown beyond this.
            assert wide.record(i).figures[name] == pytest.approx(value, rel=1e-4, abs=2e-3), name


@pytest.mark.slow
def test_on_another_number_of_devices(
    trial: Callable[..., Any], run_trials: Callable[..., Any], tmp_path: Path
) -> None:
    asked = [trial(ADAM, seed=seed) for seed in range(3)]
    here = run_trials(asked)
    listed = tmp_path / "asked for.json"
    listed.write_text(json.dumps([one.config.model_dump_json() for one in asked]))
    there = type(here)(asked, Store(tmp_path / "another store"))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(there.store.root), str(listed)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4"]
    for i in range(3):
        assert here.outcome(i) == there.outcome(i)


@pytest.mark.slow
def test_one_that_diverges_and_its_neighbours(
    trial: Callable[..., Any], run_trials: Callable[..., Any]
) -> None:
    rates = (0.05, 1e6, 0.01)
    asked = [of_table(trial, TABLE[0], learning_rate=rate, weight_decay=1.0) for rate in rates]
    ran, without = run_trials(asked), run_trials(asked[::2])
    lost = ran.record(1)
    assert lost.status == "diverged"
    (reason,) = lost.reasons
    assert reason.startswith("training diverged at step ")
    assert 0 <= int(reason.split()[-1]) < 24
    assert lost.figures["validation_loss"] is None and lost.figures["train_loss"] is None
    assert lost.figures["epochs_run"] == 3
    text = ran.store.paths.record(lost.id).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["status"] == "diverged"
    for i in (0, 2):
        assert ran.record(i).status == "ok"
        assert math.isfinite(ran.record(i).figures["validation_loss"])
        assert ran.outcome(i) == without.outcome(i // 2)


@pytest.mark.slow
def test_one_compilation_a_group(
    trial: Callable[..., Any], run_trials: Callable[..., Any], compilations: list[str]
) -> None:
    """Planning, data, records and every call after the first compile nothing."""
    model = MlpModel(widths=(5,))  # no other test's
    numbers: list[dict[str, Any]] = [
        {"learning_rate": 0.1, "seed": 7},
        {"momentum": 0.1, "weight_decay": 0.3, "clip_norm": 1.0},
        {"label_smoothing": 0.1, "min_learning_rate": 0.001, "warmup_fraction": 0.5},
        {"b1": 0.1, "b2": 0.2, "eps": 1e-3, "plateau_factor": 0.1, "plateau_patience": 1},
    ]
    run_trials([trial(model=model, **changes) for changes in numbers])
    assert len(compilations) == 1
    store = run_trials([trial(model=model, seed=seed, learning_rate=0.2) for seed in range(4)]).store
    assert len(compilations) == 1
    assert not any(record.seconds["compile"] for record in store.records("trl"))


def test_what_decides_the_program(trial: Callable[..., Any]) -> None:
    key = ENGINE.program_key

    def differs(**changes: Any) -> bool:
        return key(trial(**changes).config) != key(trial().config)

    assert not differs(learning_rate=0.3, momentum=0.1, weight_decay=0.1, seed=9, min_learning_rate=1e-4)
    assert not differs(label_smoothing=0.1, clip_norm=1.0, plateau_patience=9, warmup_fraction=0.3)
    assert not differs(model=MlpModel(target_params=460, depth=1)), "widths are what they come to"
    assert differs(dropout=0.1) and differs(augmentation_noise=0.1)
    assert key(trial(dropout=0.1).config) == key(trial(dropout=0.7).config)
    assert differs(epochs=4) and differs(batch_size=64) and differs(optimizer="lion")
    assert differs(schedule="cosine") and differs(dtype="float64") and differs(validation_fraction=0.3)
    assert differs(model=MlpModel(widths=(7,)))
    assert not differs(stop_after=1), "a training in parts is a matter of when it is cut"
    assert key(trial().config) == key(until(trial(), None, 2).config)
    assert ENGINE.label(trial().config) == "adam on mlp 6 d=460 batch=128"
