"""A workload from a user's module: one pydantic model with its traced fields marked, one pure function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sweepflow.engine.course import rounded
from sweepflow.engine.datasets import choose_inputs
from sweepflow.engine.workload import Arrays, LaneFunction, Trial, Workload
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import canonical_json
from sweepflow.schema.fields import (
    NOT_STATIC,
    Config,
    check_numbers,
    dump,
    traced_part,
    with_numbers,
)
from sweepflow.schema.numbers import type_of
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.workloads.function_figures import traced_figures, user_code
from sweepflow.workloads.function_inputs import FunctionInputs
from sweepflow.workloads.goal import GOALS, Goal
from sweepflow.workloads.neighbours import digest_of, neighbours
from sweepflow.workloads.workload import SweepWorkload

VECTOR_WIDTH = {"cpu": 16, "gpu": 256}
"""Lanes vectorised together if the module does not say; suitable for small functions."""


def function_workload(module: ModuleType, path: str) -> SweepWorkload[Any]:
    """Return the workload of a module with `Config` and `run`.

    The module has

    - `Config`: a subclass of `sweepflow.Config`, whose fields are static unless marked `Traced` or `Content`;
    - `run(config, inputs, key)`: a pure JAX function. The static fields of `config` have the values that they
      were given. Its traced fields are scalars: a bool, int32 for a whole number, `DTYPE` for a fraction, and
      None if there is no number. `key` is the trial's own. The function returns a dict of arrays: scalars are
      figures, a one-dimensional array is a curve;

    and may have

    - `inputs(config)`: a dict of NumPy arrays, with equal shapes if the static fields are equal. The contents
      of the arrays are part of a trial's identity. The configurations of a sweep share equal arrays;
    - `METRIC`, the figure that decides which trial is best (`loss`), and `GOAL`, `minimize` or `maximize`, or
      a dict of these by figure;
    - `VERSION`, to be raised whenever results change. Without it, and for a module that is loaded as a file
      (whose name alone does not distinguish it from others), every change of the file, and of the modules
      that it imports from beside it, is a new version;
    - `DTYPE` (`float32`) of the traced fractions, and `VECTOR_WIDTH`, lanes that are vectorised together.

    Args:
        module: The imported module.
        path: Path that the module was loaded by.

    Raises:
        ConfigError: for a `GOAL` that is not `minimize` or `maximize`, and a `DTYPE` that is not a type of
            fractions.
    """
    dtype = _dtype_of(module, path)
    metric = getattr(module, "METRIC", "loss")
    goals = _goals(getattr(module, "GOAL", None), metric, path)
    name = path if not path.endswith(".py") else Path(path).stem
    version = getattr(module, "VERSION", None)
    width = getattr(module, "VECTOR_WIDTH", None)
    load = FunctionInputs(module)
    digest = _source_digest(module)
    source = digest if version is None or path.endswith(".py") else ""

    def lane(config: Any) -> LaneFunction:
        return _lane(config, module, dtype)

    def figures(config: Any) -> tuple[str, ...]:
        return traced_figures(config, lane(config), load(config).arrays)

    def obstacle(trial: Trial[Any], store: Store) -> None:
        del store
        if trial.id == workload.trial(trial.config).id:
            return
        load.forget()  # a process that has long been at work may hold what a file was before
        if trial.id != (now := workload.trial(trial.config).id):
            raise ConfigError(
                f"the workload {path}, or what its inputs() gives, changed after this sweep was planned",
                got=f"{trial.id}, which it would now call {now}",
                allowed="the source, and arrays equal to the last bit, that the sweep was planned with",
                do="start the same command again: what is done keeps its records, the rest is run anew. "
                "inputs() has to give the same arrays in every process and on every machine",
            )

    def record(trial: Trial[Any], results: Mapping[str, np.ndarray], store: Store) -> Record:
        del store
        return result_record(trial, {key: value[0] for key, value in results.items()}, name, version or 0)

    engine: Workload[Any] = Workload(
        name=path,
        version=version or 0,
        program_key=lambda config: _program_key(config, load, digest),
        lanes=lambda config: 1,
        vector_width=lambda platform: width or VECTOR_WIDTH.get(platform, VECTOR_WIDTH["gpu"]),
        label=lambda config: _label(config, name),
        lane=lane,
        obstacle=obstacle,
        inputs=lambda trials, datasets, store: load.stacked([t.config for t in trials], datasets),
        record=record,
    )
    workload: SweepWorkload[Any] = SweepWorkload(
        path=path,
        name=name,
        version=version or 0,
        config_type=module.Config,
        metric=lambda config: metric,
        goals=goals,
        run=engine,
        seed_key="seed" if "seed" in module.Config.model_fields else None,
        dataset=lambda config: load(config).digest,
        source=source,
        inputs=lambda config: load(config).digest if load.given else "",
        forget=load.forget,
        figures=figures,
        check=lambda config: check_numbers(
            config, dtype, f"give another one, or compute with more digits: DTYPE in {path}"
        ),
    )
    return workload


def _goals(stated: Any, metric: str, path: str) -> Mapping[str, Goal]:
    """Return the module's `GOAL`, by figure."""
    goals = dict(stated) if isinstance(stated, Mapping) else {} if stated is None else {metric: stated}
    for goal in goals.values():
        if goal not in GOALS:
            raise ConfigError(
                f"GOAL of {path} is no direction", got=goal, allowed=" or ".join(GOALS), do="mend it"
            )
    return goals


def _dtype_of(module: ModuleType, path: str) -> np.dtype:
    """Return the type of a module's traced fractions."""
    given = getattr(module, "DTYPE", "float32")
    try:
        dtype = jnp.dtype(given)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise ConfigError(
            f"DTYPE of {path} is no type of fractions", got=given, allowed="float32, float64", do="mend it"
        )
    return dtype


def result_record(trial: Trial[Any], results: Mapping[str, np.ndarray], name: str, version: int) -> Record:
    """Return the record of a function's results: figures from its scalars, curves from its vectors.

    A scalar that is not finite becomes None, and the trial is `diverged`. The reasons name the point at which
    each curve stopped being finite.
    """
    figures: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for key, value in results.items():
        if np.ndim(value) == 0:
            figures[key] = value.item() if np.isfinite(value) else None
        else:
            arrays[f"curve.{key}" if np.ndim(value) == 1 else key] = value
    lost = [key for key, value in figures.items() if value is None]
    reasons = tuple(f"{key} is not finite" for key in lost) + (_since(arrays) if lost else ())
    return Record(
        id=trial.id,
        workload=name,
        version=version,
        status="diverged" if lost else "ok",
        reasons=reasons,
        config=trial.config.model_dump(mode="json"),
        figures=figures,
        arrays=arrays,
    )


def _since(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return, in words, the first point of each curve that is not finite."""
    curves = {name: np.flatnonzero(~np.isfinite(a)) for name, a in arrays.items() if a.ndim == 1}
    return tuple(f"{name} is not finite from point {bad[0]}" for name, bad in curves.items() if len(bad))


def _program_key(config: Config, load: FunctionInputs, source: str) -> str:
    shapes = {key: [list(value.shape), str(value.dtype)] for key, value in load(config).arrays.items()}
    return canonical_json(
        {
            "config": dump(config, *NOT_STATIC),
            "inputs": shapes,
            "numbers": {key: str(type_of(value)) for key, value in traced_part(config).items()},
            "source": source,  # a process may load a file again that has changed
        }
    )


def _label(config: Config, name: str) -> str:
    static = dump(config, *NOT_STATIC)
    words = " ".join(f"{key}={value}" for key, value in static.items() if not isinstance(value, dict))
    return f"{name.rsplit('.', 1)[-1]} {words}".strip()


def _lane(config: Config, module: ModuleType, dtype: np.dtype) -> LaneFunction:
    def lane(
        shared: Arrays, own: Arrays, traced: Mapping[str, Array], key: PRNGKeyArray, number: Array
    ) -> Arrays:
        del number  # a trial is one lane
        inputs = choose_inputs(shared, own)
        # A user's function promotes as JAX does by default. What it raises for some static fields only is
        # told in words too, such as a whole number that is too large for JAX.
        with jax.numpy_dtype_promotion("standard"), user_code("run", module):
            results = module.run(with_numbers(config, rounded(traced, dtype)), inputs, key)
        if not isinstance(results, Mapping) or not results:
            raise ConfigError(
                f"run() of {type(config).__module__} returns no arrays by name",
                got="an empty one" if isinstance(results, Mapping) else type(results).__name__,
                allowed='a dict such as {"loss": loss}',
                do="return what the trial is judged by under a name, and curves under others",
            )
        with user_code("run", module):
            arrays = {name: jnp.asarray(value) for name, value in results.items()}
        for name, array in arrays.items():
            if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating)):
                raise ConfigError(
                    f"run() of {type(config).__module__} returns what a record cannot hold",
                    got=f"{name} of {array.dtype}",
                    allowed="truth values, whole numbers, fractions",
                    do="return its real and its imaginary part, or what it is judged by",
                )
        return arrays

    return lane


def _source_digest(module: ModuleType) -> str:
    """Return the digest of a module's file, and of the files that a user's module imports from beside it."""
    file = getattr(module, "__file__", None)
    if not file:
        return ""
    is_own = module.__name__.partition(".")[0] == "sweepflow"
    return digest_of(Path(file), {} if is_own else neighbours(Path(file), module.__name__))
