"""The workload `train`: one network is trained and evaluated; such trials are batched in a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sweepflow import data
from sweepflow.engine.course import Course, rounded
from sweepflow.engine.datasets import choose_inputs, stack_inputs
from sweepflow.engine.workload import Arrays, CourseFunction, Inputs, Segmented, Trial, Workload
from sweepflow.errors import ConfigError, StoreError
from sweepflow.fingerprint import canonical_json, key_data
from sweepflow.models import build_network
from sweepflow.schema.fields import NOT_STATIC, check_numbers, dump, with_numbers
from sweepflow.schema.model import MlpModel, PotentialModel
from sweepflow.schema.numbers import check_steps
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.workloads.train.config import TrainConfig
from sweepflow.workloads.train.epochs import Noise, State, fresh_state, look, run_epochs
from sweepflow.workloads.train.kept_state import load_state, states_to_keep
from sweepflow.workloads.train.network import (
    count_params,
    initial_weights,
    own_widths,
    pad_widths,
    program_model,
)
from sweepflow.workloads.train.splits import shape_of, sizes, splits
from sweepflow.workloads.workload import SweepWorkload

NAME = "train"
VERSION = 2
MEGABYTE = 1e6
FIGURES = (
    "validation_loss",
    "validation_accuracy",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "best_validation_loss",
    "best_validation_accuracy",
)


def metrics(config: TrainConfig) -> tuple[str, ...]:
    """Return the figures that can be a metric; a regression has no accuracy."""
    classes = shape_of(config).task == "classification"
    return tuple(name for name in FIGURES if classes or not name.endswith("accuracy"))


def _noise(config: TrainConfig) -> Noise:
    """Return the sources of noise to draw. A rate of 0 leaves the drawing out of the program: it would cost
    as much as the rest of a step."""
    return Noise(dropout=config.dropout > 0, augmentation=config.augmentation_noise > 0)


def _program_key(config: TrainConfig) -> str:
    return canonical_json(
        {
            "config": dump(program_model(config, shape_of(config)), *NOT_STATIC),
            "shape": shape_of(config),
            "noise": _noise(config)._asdict(),
        }
    )


def _label(config: TrainConfig) -> str:
    shape = shape_of(config)
    model = program_model(config, shape).model
    widths = f" {'x'.join(map(str, model.widths or ()))}" if isinstance(model, MlpModel) else ""
    words: list[str] = [config.optimizer]
    if config.optimizer == "sgd" and config.nesterov:
        words.append("nesterov")
    if config.schedule != "constant":
        words.append(config.schedule)
    words += [name for name, drawn in _noise(config)._asdict().items() if drawn]
    network = f"{model.kind}{widths}" + ("" if config.pad_widths_to else f" d={count_params(config, shape)}")
    return f"{' '.join(words)} on {network} batch={config.batch_size}"


def _course(config: TrainConfig) -> CourseFunction:
    shape, noise = shape_of(config), _noise(config)
    config = program_model(config, shape)
    network = build_network(config.model, shape)
    dtype = jnp.dtype(config.dtype)

    def course(
        shared: Arrays, own: Arrays, traced: Mapping[str, Array], key: PRNGKeyArray, number: Array
    ) -> Course:
        del key, number  # every part of a training draws from the key of the whole; a trial is one lane
        rows = choose_inputs(shared, own)
        numbers = with_numbers(config, rounded(traced, dtype))
        init_key, train_key = jax.random.split(jax.random.wrap_key_data(own["key"]))

        def begin() -> State:
            return fresh_state(numbers, initial_weights(config, shape, network, own["widths"], init_key))

        def advance(state: State, start: Array, stop: Array) -> State:
            return run_epochs(numbers, shape, network, noise, rows, train_key, state, start, stop)

        def finish(state: State) -> dict[str, Array]:
            train = look(network, shape, state.w, rows["x"], rows["y"])
            test = look(network, shape, state.w, rows["x_test"], rows["y_test"])
            return {
                "train_loss": train["loss"],
                "train_accuracy": train["accuracy"],
                "test_loss": test["loss"],
                "test_accuracy": test["accuracy"],
                "best_validation_loss": state.best_loss,
                "best_validation_accuracy": state.best_accuracy,
                "best_epoch": state.best_epoch,
                "bad_step": state.bad_step,
                **{f"curve.{name}": curve for name, curve in state.curves.items()},
            }

        return Course(begin, advance, finish)

    return course


def _kept(trial: Trial[TrainConfig], store: Store) -> tuple[int, list[np.ndarray]] | None:
    config = trial.config
    if not config.resume_after:
        return None
    return config.resume_after, load_state(config, stopped(config, config.resume_after).id, store)


def _inputs(trials: Sequence[Trial[TrainConfig]], datasets: int, store: Store) -> Inputs:
    del store
    configs = [trial.config for trial in trials]
    sets = stack_inputs([splits(config) for config in configs], [dataset(c) for c in configs], datasets)
    shape = shape_of(configs[0])
    whole = [until(trial, None, 0) for trial in trials]
    own = {
        "widths": np.array([own_widths(config, shape) for config in configs], np.int32),
        "key": np.stack([key_data(trial.id, trial.seed) for trial in whole]),
    }
    return Inputs(shared=sets.shared, own={**sets.own, **own})


def until(trial: Trial[TrainConfig], stop_after: int | None, resume_after: int) -> Trial[TrainConfig]:
    """Return the same training up to an epoch (None: the last one), continued from an earlier stop."""
    update = {"stop_after": stop_after, "resume_after": resume_after}
    return TRAIN.trial(trial.config.model_copy(update=update))


def stopped(config: TrainConfig, epochs: int) -> Trial[TrainConfig]:
    """Return the trial that runs the same training up to `epochs` and keeps its state."""
    return TRAIN.trial(config.model_copy(update={"stop_after": epochs, "resume_after": 0}))


def _record(trial: Trial[TrainConfig], results: Mapping[str, np.ndarray], store: Store) -> Record:
    del store
    value = {name: rows[0] for name, rows in results.items()}
    config, shape = trial.config, shape_of(trial.config)
    ran = config.stop_after or config.epochs
    size = count_params(config, shape)
    curves = {name: curve for name, curve in value.items() if name.startswith("curve.")}
    numbers: dict[str, Any] = {
        name: float(value[name]) for name in value if name.startswith(("train_", "test_", "best_validation_"))
    }
    for name in ("validation_loss", "validation_accuracy"):
        numbers[name] = float(curves[f"curve.{name}"][ran - 1])
    figures: dict[str, Any] = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    if shape.task != "classification":
        figures = {name: v for name, v in figures.items() if not name.endswith("accuracy")}
        curves.pop("curve.validation_accuracy")
    figures |= {
        "best_epoch": int(value["best_epoch"]),
        "epochs_run": ran,
        "steps": ran * max(1, shape.n // min(config.batch_size, shape.n)),
        "num_params": size,
        "size_mb": size * jnp.dtype(config.dtype).itemsize / MEGABYTE,
    }
    bad = int(value["bad_step"])
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status="diverged" if bad >= 0 else "ok",
        reasons=(f"training diverged at step {bad}",) if bad >= 0 else (),
        # How it was run says nothing of the result, and would tell repeats apart.
        config=config.model_dump(mode="json", exclude={"resume_after", "pad_widths_to"}),
        figures=figures,
        arrays={**curves, **states_to_keep(config, value)},
    )


def dataset(config: TrainConfig) -> object:
    """Return the identity of a trial's rows."""
    return config.data, config.validation_fraction, config.dtype


def _obstacle(trial: Trial[TrainConfig], store: Store) -> str | None:
    if not trial.config.resume_after:
        return None
    before = store.get(stopped(trial.config, trial.config.resume_after).id)
    if before is None:
        raise StoreError(
            "the state that a training run was to go on from went from the store",
            got=f"epoch {trial.config.resume_after} of {trial.id}",
            do="start the same command again: it runs the missing epochs again",
        )
    return None


def prepare(config: TrainConfig) -> tuple[TrainConfig, tuple[str, ...]]:
    """Pin the data's file, and correct a schedule that would end above its start.

    Raises:
        ConfigError: for a data file that cannot be read.
    """
    notes: tuple[str, ...] = ()
    config = config.model_copy(update={"data": data.pin(config.data)})
    if config.min_learning_rate > config.learning_rate and config.schedule != "constant":
        notes = ("min_learning_rate was above learning_rate and is now equal to it",)
        config = config.model_copy(update={"min_learning_rate": config.learning_rate})
    if config.stop_after is not None and config.stop_after >= config.epochs:
        config = config.model_copy(update={"stop_after": None})
    return config, notes


def check(config: TrainConfig) -> None:
    """Check that a configuration can be trained.

    Raises:
        ConfigError: if model, data and settings do not fit together.
    """
    sizes(config)
    shape = shape_of(config)
    check_numbers(config, jnp.dtype(config.dtype), "give another one, or compute in dtype=float64")
    epoch = max(1, shape.n // min(config.batch_size, shape.n))
    check_steps(f"epochs of {epoch} steps", config.epochs * epoch)
    if config.data.kind == "file":  # other data are of moderate size by their making
        splits(config)
    if config.resume_after:
        raise ConfigError(
            "where a run goes on from is for sweepflow to say",
            got=f"resume_after={config.resume_after}",
            do="remove it; stop_after=K runs K epochs",
        )
    if isinstance(config.model, PotentialModel):
        raise ConfigError("a potential is not trained", got="model.kind=potential", do="choose model=small")
    build_network(config.model, shape)
    if shape.task == "regression" and config.label_smoothing > 0:
        raise ConfigError(
            "label smoothing is for classes, and this data set has none",
            got=f"label_smoothing={config.label_smoothing}",
            do="set label_smoothing=0",
        )
    own = own_widths(config, shape)
    padded = config.pad_widths_to
    if padded is not None and (
        len(padded) != len(own) or any(p < w for p, w in zip(padded, own, strict=True))
    ):
        raise ConfigError(
            "padded widths are at least the model's own, layer by layer",
            got=f"pad_widths_to={list(padded)} for widths {list(own)}",
        )


_SEGMENTED: Segmented[TrainConfig] = Segmented(
    points=lambda config: config.stop_after or config.epochs,
    course=_course,
    kept=_kept,
    keeps_state=lambda config: config.stop_after is not None,
)

ENGINE: Workload[TrainConfig] = Workload(
    name=NAME,
    version=VERSION,
    program_key=_program_key,
    lanes=lambda config: 1,
    # One network a core at a time on a CPU: wider vectors were no faster (measured, 1 to 16), and a trial
    # alone would pay for the padding.
    vector_width=lambda platform: 1 if platform == "cpu" else 64,
    label=_label,
    lane=_SEGMENTED.lane,
    obstacle=_obstacle,
    inputs=_inputs,
    record=_record,
    segmented=_SEGMENTED,
)

TRAIN: SweepWorkload[TrainConfig] = SweepWorkload(
    path=NAME,
    name=NAME,
    version=VERSION,
    config_type=TrainConfig,
    metric=lambda config: "validation_loss",
    run=ENGINE,
    prepare=prepare,
    check=check,
    dataset=dataset,
    figures=metrics,
    goals={name: "maximize" if name.endswith("accuracy") else "minimize" for name in FIGURES},
    pad=lambda trials: pad_widths(trials, _program_key),
    until=until,
)
