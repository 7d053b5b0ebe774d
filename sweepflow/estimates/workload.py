"""The workload `llc`: run a sampler's chains around a target's w0 and estimate the LLC from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sweepflow import data
from sweepflow.engine.course import Course
from sweepflow.engine.datasets import choose_inputs, stack_datasets
from sweepflow.engine.workload import Arrays, CourseFunction, Inputs, Segmented, Trial, Workload
from sweepflow.estimates.length import check_length, next_stop, points, room
from sweepflow.estimates.record import NAME, VERSION, record
from sweepflow.fingerprint import canonical_json, fingerprint
from sweepflow.models import build_network
from sweepflow.samplers import chain, chains_per_trial
from sweepflow.samplers.posterior import LocalPosterior
from sweepflow.samplers.stochastic import BIAS_STEPS
from sweepflow.schema.fields import NOT_STATIC, check_numbers, dump, static_part
from sweepflow.schema.llc import EstimateConfig
from sweepflow.schema.numbers import check_steps
from sweepflow.schema.sampler import StochasticSampler, sampler_name
from sweepflow.storage.store import Store
from sweepflow.targets.workload import target_label, target_trial
from sweepflow.temperature import default_nbeta

__all__ = ["LLC", "NAME", "VERSION", "check", "estimate_trial"]


def estimate_trial(config: EstimateConfig) -> Trial[EstimateConfig]:
    """Return the trial of an estimate; numbers that were left open, such as an nbeta of n / log n, are
    settled."""
    sampler = config.sampler
    sampler = sampler.settled(sampler.nbeta or default_nbeta(data.describe(config.target.data).n))
    config = config.model_copy(update={"sampler": sampler})
    target = target_trial(config.target).id
    identity = fingerprint("est", NAME, VERSION, {"target": target, "sampler": sampler})
    return Trial(identity, config, sampler.seed)


def check(config: EstimateConfig) -> None:
    """Check that a program sees the sampler's numbers and the data unchanged; the target has its own check.

    Raises:
        ConfigError: for a number that does not fit the type that the sampler computes with.
    """
    sampler = config.sampler
    do = "give another one, or compute in sampler.dtype=float64"
    check_numbers(sampler, np.dtype(sampler.dtype), do, "sampler.")
    check_length(sampler, _rows(config))
    steps = points(sampler, _rows(config))
    length = (
        "sampler.warmup + sampler.draws * sampler.thinning" if sampler.is_sized else "sampler.max_gradients"
    )
    if isinstance(sampler, StochasticSampler):
        steps *= sampler.thinning
        if sampler.bias_chains:
            steps, length = BIAS_STEPS * steps, f"{BIAS_STEPS} * ({length}), for bias chains"
    check_steps(f"steps of {length}", steps)
    data.check_fits(config.target.data, sampler.dtype)


def _program_key(config: EstimateConfig) -> str:
    return canonical_json(
        {
            "model": config.target.model,
            "shape": data.describe(config.target.data),
            "sampler": dump(config.sampler, *NOT_STATIC),
            "tunes": isinstance(config.sampler, StochasticSampler) and config.sampler.tunes_step_size,
        }
    )


def _label(config: EstimateConfig) -> str:
    return f"{sampler_name(config.sampler)} on {target_label(config.target)}"


def _course(config: EstimateConfig) -> CourseFunction:
    shape = data.describe(config.target.data)
    network = build_network(config.target.model, shape)
    sampler = static_part(config.sampler)
    dtype = jnp.dtype(sampler.dtype)

    def course(
        shared: Arrays, own: Arrays, traced: Mapping[str, Array], key: PRNGKeyArray, number: Array
    ) -> Course:
        numbers = {
            name.removeprefix("sampler."): value
            for name, value in traced.items()
            if name.startswith("sampler.")
        }
        chosen = choose_inputs(shared, own)
        posterior = LocalPosterior(
            network=network,
            shape=shape,
            x=chosen["x"].astype(dtype),
            y=chosen["y"].astype(dtype),
            center=own["w0"].astype(dtype),
            nbeta=numbers["nbeta"].astype(dtype),
            gamma=numbers["gamma"].astype(dtype),
        )
        run = chain(sampler, numbers, posterior, key, number, room(sampler, posterior.rows))
        return run._replace(finish=lambda state: run.finish(state).results())

    return course


def _obstacle(trial: Trial[EstimateConfig], store: Store) -> str | None:
    target = store.get(target_trial(trial.config.target).id)
    if target is None or target.status != "failed":
        return None  # a target that was lost since is an error of the store, raised where it is read
    return f"target: {', '.join(target.reasons)}"


def _inputs(trials: Sequence[Trial[EstimateConfig]], datasets: int, store: Store) -> Inputs:
    sets = stack_datasets([trial.config.target.data for trial in trials], datasets)
    targets = [target_trial(trial.config.target).id for trial in trials]
    weights = {target: store.arrays(target)["w0"] for target in dict.fromkeys(targets)}
    return Inputs(
        shared={name: sets.shared[name] for name in ("x", "y")},
        own={**sets.own, "w0": np.stack([weights[target] for target in targets])},
    )


def _rows(config: EstimateConfig) -> int:
    return data.describe(config.target.data).rows


_SEGMENTED: Segmented[EstimateConfig] = Segmented(
    points=lambda config: points(config.sampler, _rows(config)),
    course=_course,
    stop=lambda trial, results, done: next_stop(trial.config.sampler, _rows(trial.config), results, done),
)

LLC: Workload[EstimateConfig] = Workload(
    name=NAME,
    version=VERSION,
    program_key=_program_key,
    lanes=lambda config: chains_per_trial(config.sampler),
    # Two chains a vector halve the dispatch cost of small networks; more would leave cores without work.
    vector_width=lambda platform: 2 if platform == "cpu" else 32,
    label=_label,
    lane=_SEGMENTED.lane,
    obstacle=_obstacle,
    inputs=_inputs,
    record=record,
    segmented=_SEGMENTED,
)
