"""What a training is given: its rows, what is mended and what is refused, and its identity."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sweepflow import data
from sweepflow.errors import ConfigError, DataError
from sweepflow.schema.data import (
    BundledData,
    DataConfig,
    FileData,
    MnistData,
    QuadraticData,
    TeacherStudentData,
)
from sweepflow.schema.model import CnnModel, DeepLinearModel, MlpModel, PotentialModel
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.splits import shape_of, splits
from sweepflow.workloads.train.workload import TRAIN, dataset, until


def file_data(tmp_path: Path, task: Any, standardize: bool = True) -> FileData:
    """Rows that can be told apart: the first feature is a row's number."""
    rng = np.random.default_rng(0)
    x = np.column_stack([np.arange(50.0), rng.normal(3, 5, (50, 2)), np.ones(50)])
    y = rng.normal(7, 3, 50) if task == "regression" else rng.integers(0, 3, 50)
    np.savez(tmp_path / "some rows.npz", x=x, y=y)
    return data.pin(FileData(path=str(tmp_path / "some rows.npz"), task=task, standardize=standardize))


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_every_row_is_in_one_part(task: str, tmp_path: Path) -> None:
    config = TrainConfig(data=file_data(tmp_path, task, standardize=False), dtype="float64")
    rows = splits(config)
    parts = [rows[name][:, 0] for name in ("x", "x_validation", "x_test")]
    assert [len(part) for part in parts] == [32, 8, 10]
    numbers = np.concatenate(parts)
    assert sorted(numbers) == list(range(50)), "raw: each row's number, once"
    labels = np.concatenate([rows[name] for name in ("y", "y_validation", "y_test")])
    with np.load(tmp_path / "some rows.npz") as file:
        np.testing.assert_array_equal(labels.ravel(), file["y"][numbers.astype(int)], "and its own label")
    assert shape_of(config).n == 32


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_standardised_by_the_training_rows_alone(task: str, tmp_path: Path) -> None:
    raw = splits(TrainConfig(data=file_data(tmp_path, task, standardize=False), dtype="float64"))
    rows = splits(TrainConfig(data=file_data(tmp_path, task), dtype="float64"))
    for axis in ("x", "y") if task == "regression" else ("x",):
        train = raw[axis]
        mean, sd = train.mean(axis=0), np.where(np.ptp(train, axis=0) == 0, 1, train.std(axis=0))
        np.testing.assert_allclose(rows[axis].mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(rows[axis].std(axis=0), np.ptp(train, axis=0) > 0, atol=1e-12)
        for part in ("", "_validation", "_test"):
            np.testing.assert_allclose(rows[axis + part], (raw[axis + part] - mean) / sd, atol=1e-9)
    if task == "classification":
        np.testing.assert_array_equal(rows["y"], raw["y"])


@pytest.mark.parametrize("name", ["digits", "diabetes", "breast_cancer"])
def test_bundled_rows(name: Any) -> None:
    config = TrainConfig(data=BundledData(name=name), dtype="float64")
    rows, whole = splits(config), data.load(config.data)
    n = len(rows["x"])
    assert n + len(rows["x_validation"]) == len(whole.x) and len(rows["x_test"]) == len(whole.x_test)
    assert abs(rows["x"].mean()) < 1e-12
    if rows["x"].ndim == 2:
        np.testing.assert_allclose(rows["x"].mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(rows["x"].std(axis=0), 1, atol=1e-10)
    else:
        assert rows["x"].std() == pytest.approx(1)
    # Each part is the data set's own rows in their order, moved and scaled alike.
    joined = np.concatenate([rows["x"], rows["x_validation"], rows["x_test"]]).reshape(-1, 1)
    theirs = np.concatenate([whole.x, whole.x_test]).reshape(-1, 1)
    if rows["x"].ndim > 2:
        slope, offset = np.polyfit(theirs[:, 0], joined[:, 0], 1)
        np.testing.assert_allclose(joined, slope * theirs + offset, atol=1e-9)
    for part in splits(config.model_copy(update={"dtype": "float32"})).values():
        assert part.dtype == np.float32


def test_a_file_of_sorted_classes_validates_on_the_classes_it_trains_on(tmp_path: Path) -> None:
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(10, dtype=np.uint8), 60)
    images = rng.integers(0, 256, (600, 28, 28), dtype=np.uint8)
    path = tmp_path / "sorted mnist.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[::60], y_test=labels[::60])
    for n_data in (None, 200):
        rows = splits(TrainConfig(data=data.pin(MnistData(path=str(path), n_data=n_data)), dtype="float64"))
        assert set(rows["y"]) == set(rows["y_validation"]) == set(range(10))
        assert len(rows["y_validation"]) == (n_data or 600) // 5


def test_made_up_rows_are_left_as_they_are() -> None:
    config = TrainConfig(data=TeacherStudentData(n_data=40), dtype="float64")
    rows, whole = splits(config), data.load(config.data)
    np.testing.assert_array_equal(np.concatenate([rows["x"], rows["x_validation"]]), whole.x)
    np.testing.assert_array_equal(np.concatenate([rows["y"], rows["y_validation"]]), whole.y)


def test_what_is_mended() -> None:
    config, notes = TRAIN.prepare(
        TrainConfig(schedule="cosine", learning_rate=0.01, min_learning_rate=0.1, stop_after=10)
    )
    assert config.min_learning_rate == 0.01
    assert notes == ("min_learning_rate was above learning_rate and is now equal to it",)
    assert config.stop_after is None, "it would stop at the end"
    assert TRAIN.prepare(config) == (config, ())
    constant = TrainConfig(learning_rate=0.01, min_learning_rate=0.1)
    assert TRAIN.prepare(constant) == (constant, ()), "where it has no effect"


DIGITS = BundledData(name="digits")
DIABETES = BundledData(name="diabetes")


@pytest.mark.parametrize(
    ("settings", "what", "do"),
    [
        ({"data": QuadraticData()}, "a potential has no rows to train on", "data=digits"),
        ({"data": DIGITS, "model": PotentialModel()}, "a potential is not trained", "model=small"),
        ({"data": DIABETES, "label_smoothing": 0.1}, "label smoothing is for classes", "label_smoothing=0"),
        ({"data": DIABETES, "model": CnnModel()}, "needs images", "data=digits"),
        ({"data": DIGITS, "validation_fraction": 1e-5}, "no validation row", "validation_fraction"),
        ({"data": DIGITS, "validation_fraction": 0.99999}, "no training row", "validation_fraction"),
        ({"resume_after": 2}, "is for sweepflow to say", "stop_after=K"),
        ({"pad_widths_to": (63,)}, "padded widths are at least", ""),
        ({"pad_widths_to": (64, 64)}, "padded widths are at least", ""),
        ({"model": DeepLinearModel(widths=(3,)), "pad_widths_to": (3,)}, "padded widths are at least", ""),
    ],
)
def test_what_is_refused(settings: dict[str, Any], what: str, do: str) -> None:
    config, _ = TRAIN.prepare(TrainConfig(**settings))
    with pytest.raises(ConfigError) as caught:
        TRAIN.check(config)
    assert what in caught.value.what
    assert do in (caught.value.do or "")
    assert caught.value.got is not None


def test_what_can_be_a_metric() -> None:
    classes, regression = (TRAIN.figures(TrainConfig(data=one)) for one in (DIGITS, DIABETES))
    assert TRAIN.metric(TrainConfig()) in regression
    assert set(classes) - set(regression) == {
        "validation_accuracy",
        "train_accuracy",
        "test_accuracy",
        "best_validation_accuracy",
    }


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for absent in (FileData(path=str(tmp_path / "no.npz")), MnistData(path=str(tmp_path / "no mnist"))):
        with pytest.raises(DataError):
            TRAIN.prepare(TrainConfig(data=absent))


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"dropout": 1.0},
        {"label_smoothing": -0.1},
        {"plateau_factor": 1},
        {"plateau_patience": 0},
        {"epochs": 0},
        {"validation_fraction": 1},
        {"clip_norm": -1},
        {"seed": -1},
        {"learningrate": 0.1},
    ],
)
def test_numbers_out_of_their_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig(**settings)


def test_a_file_is_pinned_and_known_by_its_content(tmp_path: Path) -> None:
    pinned = file_data(tmp_path, "regression")
    config, _ = TRAIN.prepare(TrainConfig(data=pinned.model_copy(update={"sha256": ""})))
    assert config.data.sha256 == pinned.sha256 != ""
    moved = tmp_path / "elsewhere.npz"
    (tmp_path / "some rows.npz").rename(moved)
    again, _ = TRAIN.prepare(TrainConfig(data=FileData(path=str(moved))))
    assert TRAIN.trial(again).id == TRAIN.trial(config).id


GOLDEN: dict[str, dict[str, Any]] = {
    "trl_cda3efec26c84b93": {},
    "trl_84dc3bda6fdffb72": {"optimizer": "sgd", "schedule": "cosine", "learning_rate": 0.1, "seed": 3},
    "trl_bfef280fa02785c2": {"model": CnnModel(), "data": DIGITS, "stop_after": 2, "dropout": 0.5},
    "trl_d62d41738400939d": {
        "model": MlpModel(target_params=500, depth=2),
        "data": DIABETES,
        "batch_size": 32,
    },
}


def ids() -> list[str]:
    return [TRAIN.trial(TrainConfig(**settings)).id for settings in GOLDEN.values()]


def test_golden_ids() -> None:
    """These may change with VERSION, and with a field or default that is added; with nothing else."""
    assert ids() == list(GOLDEN)


def test_golden_ids_in_another_process() -> None:
    code = (
        "from sweepflow.workloads.train.workload import TRAIN\n"
        "from sweepflow.workloads.train.config import TrainConfig\n"
        "print(TRAIN.trial(TrainConfig()).id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == next(iter(GOLDEN))


def test_what_is_no_part_of_the_id(trial: Callable[..., Any]) -> None:
    assert trial(pad_widths_to=(9,)).id == until(trial(), None, 2).id == trial().id
    changes: list[dict[str, Any]] = [
        {"seed": 1},
        {"learning_rate": 0.02},
        {"epochs": 4},
        {"stop_after": 1},
        {"validation_fraction": 0.1},
        {"dropout": 0.1},
    ]
    assert len({trial().id, *(trial(**change).id for change in changes)}) == 7


def test_which_trials_share_their_rows() -> None:
    plain = TrainConfig()
    same = TrainConfig(learning_rate=0.5, seed=3, epochs=2)
    others: list[DataConfig] = [BundledData(seed=1), BundledData(name="diabetes")]
    assert dataset(plain) == dataset(same)
    assert all(dataset(plain) != dataset(TrainConfig(data=other)) for other in others)
    assert dataset(plain) != dataset(TrainConfig(validation_fraction=0.3))


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ({"learning_rate": 1e39}, "learning_rate=1e+39"),
        ({"b2": 1 - 1e-9}, "b2=0.999999999"),
        ({"weight_decay": 1e-46}, "weight_decay=1e-46"),
        ({"plateau_patience": 2**31}, "plateau_patience=2147483648"),
        ({"epochs": 10**9}, "epochs of 8 steps=8000000000"),
    ],
)
def test_numbers_that_training_would_see_otherwise_are_refused(values: dict[str, Any], got: str) -> None:
    with pytest.raises(ConfigError) as told:
        TRAIN.check(TrainConfig(**values))
    assert got in str(told.value) and told.value.allowed and told.value.do
    if isinstance(next(iter(values.values())), float):
        TRAIN.check(TrainConfig(**values, dtype="float64"))
