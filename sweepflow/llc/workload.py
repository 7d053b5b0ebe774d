"""The workload `llc`: run a sampler's chains around a target's w0 and estimate the LLC from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sweepflow import data
from sweepflow.engine.course import Course
from sweepflow.engine.datasets import choose_inputs, stack_datasets
from sweepflow.engine.workload import Arrays, CourseFunction, Inputs, Segmented, Trial, Workload
from sweepflow.errors import StoreError
from sweepflow.fingerprint import canonical_json, fingerprint
from sweepflow.llc.estimate import estimate
from sweepflow.llc.verdict import Chains, sound, verdict
from sweepflow.models import build_network
from sweepflow.samplers import chain, chains_per_trial, points_of_chain, step_of_point, warmup_points
from sweepflow.samplers.posterior import LocalPosterior
from sweepflow.schema.fields import NOT_STATIC, check_numbers, dump, static_part
from sweepflow.schema.llc import EstimateConfig
from sweepflow.schema.numbers import check_steps
from sweepflow.schema.sampler import SamplerConfig, sampler_name
from sweepflow.store.record import Record
from sweepflow.store.store import Store
from sweepflow.targets.workload import target_label, target_trial
from sweepflow.temperature import default_nbeta

NAME = "llc"
VERSION = 2
TRACE_POINTS = 500
"""Points of a chain's loss that a record keeps."""


def estimate_trial(config: EstimateConfig) -> Trial[EstimateConfig]:
    """The trial of an estimate; an nbeta that is not given becomes n / log n."""
    sampler = config.sampler
    if sampler.nbeta is None:
        n = data.describe(config.target.data).n
        sampler = sampler.model_copy(update={"nbeta": default_nbeta(n)})
        config = config.model_copy(update={"sampler": sampler})
    target = target_trial(config.target).id
    identity = fingerprint("est", NAME, VERSION, {"target": target, "sampler": sampler})
    return Trial(identity, config, sampler.seed)


def check(config: EstimateConfig) -> None:
    """Make sure that a program sees the sampler's numbers, and the data, as they are; its target has a check
    of its own.

    Raises:
        ConfigError: for one that does not fit the type that the sampler computes with.
    """
    sampler = config.sampler
    do = "give another one, or compute in sampler.dtype=float64"
    check_numbers(sampler, np.dtype(sampler.dtype), do, "sampler.")
    steps = sampler.warmup + sampler.draws * sampler.thinning
    check_steps("sampler.warmup + sampler.draws * sampler.thinning", steps)
    data.check_fits(config.target.data, sampler.dtype)


def _program_key(config: EstimateConfig) -> str:
    return canonical_json(
        {
            "model": config.target.model,
            "shape": data.describe(config.target.data),
            "sampler": dump(config.sampler, *NOT_STATIC),
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
        run = chain(sampler, numbers, posterior, jax.random.fold_in(key, number), number)
        return run._replace(finish=lambda state: run.finish(state)._asdict())

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


def _record(trial: Trial[EstimateConfig], results: Mapping[str, np.ndarray], store: Store) -> Record:
    sampler = trial.config.sampler
    target = store.get(target_trial(trial.config.target).id)
    if target is None:
        raise StoreError(
            "a target went from the store while its estimates were drawn",
            got=f"{target_trial(trial.config.target).id}, wanted by {trial.id}",
            do="start the same command again: it builds the target again",
        )
    assert sampler.nbeta is not None  # `estimate_trial` gave it a number
    loss_0 = target.figures["loss_train"]
    chains, warmup = sampler.chains, warmup_points(sampler)
    losses, bias_losses = results["loss"][:chains], results["loss"][chains:]
    good = sound(losses) if loss_0 is not None else np.zeros(chains, bool)
    kept = losses[good][:, warmup:]
    pooled = estimate(kept, loss_0 or 0.0, sampler.nbeta)

    bias = bias_se = bias_error = None
    good_bias = sound(bias_losses)
    if len(kept) and good_bias.any():
        finer = estimate(bias_losses[good_bias][:, warmup:], loss_0, sampler.nbeta)
        if math.isfinite(finer.mcse) and math.isfinite(pooled.mcse):
            bias = pooled.llc - finer.llc
            bias_se = math.hypot(pooled.mcse, finer.mcse)
            bias_error = math.hypot(pooled.high - pooled.llc, finer.high - finer.llc)

    moved = np.ptp(kept, axis=1) > 0
    frozen = np.zeros(chains, bool)
    frozen[np.flatnonzero(good)[~moved]] = True
    acceptance = _mean(results["acceptance"][:chains][good])
    divergences = int(results["divergences"][:chains].sum())
    did = Chains(
        diverged_at=[_diverged_at(sampler, row) for row in losses],
        frozen=frozen,
        acceptance=acceptance,
        divergences=divergences,
        draws=chains * sampler.draws * sampler.thinning,
    )
    num_params = int(target.figures["num_params"])
    status, reasons = verdict(
        pooled,
        did,
        num_params=num_params,
        bias=bias,
        bias_error=bias_error,
        target_reasons=target.reasons,
        localisation=sampler.gamma / sampler.nbeta,
    )
    per_chain = iter(pooled.chains)
    figures = {
        "target_id": target.id,
        "n": target.figures["n"],
        "num_params": num_params,
        "nbeta": sampler.nbeta,
        "gamma": sampler.gamma,
        "L0": loss_0,
        "llc": pooled.llc,
        "llc_mcse": pooled.mcse,
        "llc_low": pooled.low,
        "llc_high": pooled.high,
        "llc_chains": [next(per_chain) if ok else None for ok in good],
        "llc_bias": bias,
        "llc_bias_se": bias_se,
        "ess_mean": pooled.ess,
        "r_hat": pooled.r_hat,
        "acceptance": acceptance,
        "divergences": divergences,
        "frozen_chains": int(frozen.sum()),
        "nan_fraction": float(np.mean(~np.isfinite(losses[:, warmup:]))),
        "step_size": _mean(results["step_size"][:chains]),
        "full_gradients": float(results["full_gradients"][:, -1].sum()),
    }
    thin = _thin(losses.shape[1], warmup)
    figures["trace_warmup"] = int(np.sum(thin < warmup))
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status=status,
        reasons=reasons,
        config=trial.config.model_dump(mode="json"),
        figures={name: _finite(value) for name, value in figures.items()},
        arrays={
            "loss": losses[:, thin],
            "bias_loss": bias_losses[:, thin],
            "full_gradients": results["full_gradients"][:chains].mean(axis=0)[thin],
        },
    )


def _diverged_at(sampler: SamplerConfig, losses: np.ndarray) -> int:
    bad = np.flatnonzero(~np.isfinite(losses))
    return step_of_point(sampler, int(bad[0])) if len(bad) else -1


def _thin(points: int, warmup: int) -> np.ndarray:
    """Indices of the trace points to keep: evenly spaced, the last one of them always."""
    stride = max(1, -(-points // TRACE_POINTS))
    return np.arange(points - 1, -1, -stride)[::-1]


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_SEGMENTED: Segmented[EstimateConfig] = Segmented(
    points=lambda config: points_of_chain(config.sampler), course=_course
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
    record=_record,
    segmented=_SEGMENTED,
)
