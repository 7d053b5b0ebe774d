"""The workload `target`: build a trained network, once for each fingerprint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sweepflow import data
from sweepflow.engine.course import Course
from sweepflow.engine.datasets import choose_inputs, stack_datasets
from sweepflow.engine.workload import Arrays, CourseFunction, Inputs, Segmented, Trial, Workload
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import canonical_json, fingerprint
from sweepflow.models import build_network
from sweepflow.schema.fields import NOT_STATIC, check_numbers, dump, static_part
from sweepflow.schema.numbers import check_steps
from sweepflow.schema.target import TargetConfig, TrainingConfig
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.targets.convergence import complaints
from sweepflow.targets.train import steps_and_checks, train
from sweepflow.temperature import FEWEST_ROWS, default_nbeta

NAME = "target"
VERSION = 3


def target_trial(config: TargetConfig) -> Trial[TargetConfig]:
    """The trial that builds a target."""
    return Trial(fingerprint("tgt", NAME, VERSION, config), config, config.target.seed)


def check(config: TargetConfig) -> None:
    """Check that a target can be built, without building it.

    Raises:
        ConfigError: where model and data do not fit, a number does not fit the type that is computed with, or
            start=truth has no truth that fits.
    """
    dtype = np.dtype(config.target.dtype)
    check_numbers(config, dtype, "give another one, or compute in target.dtype=float64")
    check_steps("target.steps", config.target.steps)
    data.check_fits(config.data, config.target.dtype)
    shape = data.describe(config.data)
    network = build_network(config.model, shape)
    if shape.task == "potential" and config.target.start != "truth":
        raise ConfigError(
            "a potential is not trained: its minimum is known",
            got=f"target.start={config.target.start}",
            do="add target=truth",
        )
    if config.target.start == "truth":
        truth = data.load(config.data).truth
        if truth is None or truth.shape != (network.num_params,):
            raise ConfigError(
                "target.start=truth needs data with a known true parameter of the model's own shape",
                got=f"data.kind={config.data.kind} with a model of {network.num_params} parameters",
                allowed="data=deep_linear with model.kind=deep_linear and equal widths, or a potential",
            )


def _program_key(config: TargetConfig) -> str:
    return canonical_json(
        {
            "model": config.model,
            "shape": data.describe(config.data),
            "training": dump(config.target, *NOT_STATIC),
        }
    )


def target_label(config: TargetConfig) -> str:
    """Return a human-readable name of a group: architecture and parameter count."""
    size = build_network(config.model, data.describe(config.data)).num_params
    return f"{config.model.kind} d={size}"


def _course(config: TargetConfig) -> CourseFunction:
    shape = data.describe(config.data)
    network = build_network(config.model, shape)
    training = static_part(config.target)

    def course(
        shared: Arrays, own: Arrays, traced: Mapping[str, Array], key: PRNGKeyArray, number: Array
    ) -> Course:
        del number  # a target is one lane
        chosen = {**choose_inputs(shared, own), "truth": own["truth"]}
        numbers = {name.removeprefix("target."): value for name, value in traced.items()}
        run = train(training, shape, network, numbers, chosen, key)
        return run._replace(finish=lambda state: run.finish(state)._asdict())

    return course


def _inputs(trials: Sequence[Trial[TargetConfig]], datasets: int, store: Store) -> Inputs:
    del store  # a target is made from its configuration alone
    sets = stack_datasets([trial.config.data for trial in trials], datasets)
    config = trials[0].config
    size = build_network(config.model, data.describe(config.data)).num_params
    truths = (data.load(trial.config.data).truth for trial in trials)
    truth = np.stack([t if t is not None and len(t) == size else np.zeros(size) for t in truths])
    return Inputs(shared=sets.shared, own={**sets.own, "truth": truth})


def _record(trial: Trial[TargetConfig], results: Mapping[str, np.ndarray], store: Store) -> Record:
    del store
    shape = data.describe(trial.config.data)
    value = {name: rows[0] for name, rows in results.items()}
    figures: dict[str, object] = {
        "task": shape.task,
        "n": shape.n,
        "n_test": shape.n_test,
        "num_params": len(value["w0"]),
        "steps": int(value["steps"]),
    }
    for name in ("loss_train", "loss_test", "accuracy_train", "accuracy_test", "grad_norm"):
        figures[name] = float(value[name]) if math.isfinite(value[name]) else None
    diverged = not (np.isfinite(value["loss_train"]) and np.isfinite(value["w0"]).all())
    if diverged:
        bad = np.flatnonzero(~np.isfinite(value["loss_curve"]))
        at = int(value["steps_curve"][bad[0]]) if len(bad) else int(value["steps"])
        reasons: tuple[str, ...] = (f"training diverged at step {at}",)
    else:
        # A target of fewer rows may still be sampled, at an nbeta that is given.
        nbeta = default_nbeta(max(shape.n, FEWEST_ROWS))
        reasons = complaints(value["loss_curve"], float(value["grad_norm"]), nbeta)
    figures["converged"] = not reasons
    training = trial.config.target
    notes: tuple[str, ...] = ()
    asked = "" if diverged else _earlier(training, int(value["steps"]))
    figures["stopped_early"] = bool(asked)
    if reasons and asked:
        notes, reasons = (f"w0 is no minimum, as {asked} asks: {'; '.join(reasons)}",), ()
    if diverged:
        do = f"target.learning_rate={training.learning_rate / 10:g}"
    else:
        do = f"target.steps={4 * training.steps}" if training.steps else "train it: target=adam"
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status="diverged" if diverged else "flagged" if reasons else "ok",
        reasons=reasons,
        advice=(do,) * len(reasons),
        notes=notes,
        config=trial.config.model_dump(mode="json"),
        figures=figures,
        arrays={name: value[name] for name in ("w0", "loss_curve", "steps_curve")},
    )


def _earlier(training: TrainingConfig, steps: int) -> str:
    """Return the override that asked for a point before the minimum; empty if training was to reach it."""
    if training.start == "random" and training.steps == 0:
        return "target.steps=0"
    return f"target.tolerance={training.tolerance:g}" if steps < training.steps else ""


_SEGMENTED: Segmented[TargetConfig] = Segmented(
    points=lambda config: steps_and_checks(config.target)[1], course=_course
)

TARGET: Workload[TargetConfig] = Workload(
    name=NAME,
    version=VERSION,
    program_key=_program_key,
    lanes=lambda config: 1,
    # One target a core at a time on a CPU; the products of a whole data set fill it.
    vector_width=lambda platform: 1 if platform == "cpu" else 8,
    label=target_label,
    lane=_SEGMENTED.lane,
    obstacle=lambda trial, store: None,
    inputs=_inputs,
    record=_record,
    segmented=_SEGMENTED,
)
