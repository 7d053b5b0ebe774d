"""From the traces of a trial's chains to its record."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sweepflow import data
from sweepflow.engine.workload import Trial
from sweepflow.errors import StoreError
from sweepflow.estimates.advice import Advice
from sweepflow.estimates.chains import Bias, Chains
from sweepflow.estimates.estimate import Estimate, corrected, drift, estimate
from sweepflow.estimates.length import Span, relaxation_time, span, stayed_finite
from sweepflow.estimates.verdict import Finding, verdict
from sweepflow.samplers import recorded, step_of_point, tuning_points
from sweepflow.samplers.stochastic import BIAS_STEPS
from sweepflow.schema.llc import EstimateConfig
from sweepflow.schema.sampler import MclmcSampler, SamplerConfig, StochasticSampler
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.targets.workload import target_trial
from sweepflow.temperature import FEWEST_ROWS, default_nbeta

NAME = "llc"
VERSION = 5
TRACE_POINTS = 500
"""Maximum number of points of a chain's traces that a record keeps."""
BIAS_FACTOR = {"sgld": BIAS_STEPS / (BIAS_STEPS - 1), "sgnht": BIAS_STEPS**2 / (BIAS_STEPS**2 - 1)}
"""Factor from the difference between the results of two step lengths to the bias of the longer one. The bias
is proportional to SGLD's step size (Talay and Tubaro 1990), and to the square of the thermostat's."""


MEDIAN_SQUARE = 0.4549
"""Median of the square of a standard normal variable."""

Results = Mapping[str, np.ndarray]


def record(trial: Trial[EstimateConfig], results: Results, store: Store) -> Record:
    """Return the record of an estimate.

    Args:
        trial: The trial, settled.
        results: Results of its lanes, as `samplers.posterior.Chain` has them.
        store: Store that has the target.

    Raises:
        StoreError: if the target is no longer in the store.
    """
    sampler = trial.config.sampler
    target = store.get(target_trial(trial.config.target).id)
    if target is None:
        raise StoreError(
            "a target went from the store while its estimates were drawn",
            got=f"{target_trial(trial.config.target).id}, wanted by {trial.id}",
            do="start the same command again: it builds the target again",
        )
    assert sampler.nbeta is not None  # settled
    rows = data.describe(trial.config.target.data).rows
    drawn = span(sampler, rows, results)
    results = {name: trace[:, : drawn.end] if trace.ndim > 1 else trace for name, trace in results.items()}
    chains, warmup = sampler.chains, drawn.warmup
    loss_0 = target.figures["loss_train"]
    losses, finer = results["loss"][:chains], results["loss"][chains:]
    good = stayed_finite(losses) if loss_0 is not None else np.zeros(chains, bool)
    kept = losses[good][:, warmup:]
    found = estimate(kept, loss_0 or 0.0, sampler.nbeta)
    bias = _bias(losses, finer, good, warmup, BIAS_FACTOR.get(sampler.kind, 1.0) * sampler.nbeta)
    if bias is not None:
        found = corrected(found, bias.value, bias.error)

    moved = np.ptp(kept, axis=1) > 0
    frozen = np.zeros(chains, bool)
    frozen[np.flatnonzero(good)[~moved]] = True
    num_params = int(target.figures["num_params"])
    did = _chains(sampler, results, good, frozen, drawn, loss_0 or 0.0, num_params)
    advice = Advice(sampler, rows, did, found.ess)
    status, findings = verdict(
        found,
        advice,
        num_params=num_params,
        bias=bias,
        target=[Finding(reason, do) for reason, do in target.findings],
        at_minimum=not target.figures.get("stopped_early"),
    )
    per_chain = iter(found.chains)
    n = target.figures["n"]
    at_wbic = n >= FEWEST_ROWS and math.isclose(sampler.nbeta, default_nbeta(n), rel_tol=1e-9)
    figures = {
        "target_id": target.id,
        "n": n,
        "num_params": num_params,
        "nbeta": sampler.nbeta,
        "gamma": sampler.gamma,
        "L0": loss_0,
        "llc": found.llc,
        "llc_mcse": found.mcse,
        "llc_low": found.low,
        "llc_high": found.high,
        "llc_chains": [next(per_chain) if ok else None for ok in good],
        "llc_bias": bias and bias.value,
        "llc_bias_se": bias and bias.error,
        "wbic": n * (loss_0 + found.llc / sampler.nbeta) if at_wbic and kept.size else None,
        "ess_mean": found.ess,
        "r_hat": found.r_hat,
        "acceptance": did.acceptance,
        "mala_acceptance": did.mala_acceptance,
        "energy_variance": did.energy_variance,
        "divergences": did.divergences,
        "restarts": int(results["restarts"][0]),
        "frozen_chains": int(frozen.sum()),
        "nan_fraction": float(np.mean(~np.isfinite(losses[:, warmup:]))),
        "step_size": did.step_size,
        "distance": _mean(results["distance"][:chains][good, warmup:]),
        "distance_r_hat": did.distance_r_hat,
        "draws": drawn.draws,
        "warmup": did.warmup_steps,
        "relaxation_time": did.relaxation_time,
        "full_gradients": did.full_gradients,
    }
    thin = _thin(losses.shape[1])
    figures["trace_warmup"] = int(np.sum(thin < warmup))
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status=status,
        reasons=tuple(finding.reason for finding in findings),
        advice=tuple(finding.do for finding in findings),
        notes=_notes(found, advice, target),
        config=trial.config.model_dump(mode="json"),
        figures={name: _finite(value) for name, value in figures.items()},
        arrays=_traces(
            results, chains, good, warmup, thin, loss_0, sampler.nbeta, bias.value if bias else 0.0
        ),
    )


def _bias(losses: np.ndarray, finer: np.ndarray, good: np.ndarray, warmup: int, factor: float) -> Bias | None:
    """Return the effect of the step size on lambda-hat, from the chains that were driven by the same
    noise."""
    partner = np.arange(len(finer)) % len(losses)
    paired = stayed_finite(finer) & good[partner]
    if not paired.any():
        return None
    # Those of one partner share its noise: together they are one more exact chain beside it.
    differences = [
        losses[chain] - finer[paired & (partner == chain)].mean(axis=0)
        for chain in np.unique(partner[paired])
    ]
    apart = estimate(np.array(differences)[:, warmup:], 0.0, factor)
    return Bias(apart.llc, apart.mcse) if math.isfinite(apart.mcse) else None


def _chains(
    sampler: SamplerConfig,
    results: Results,
    good: np.ndarray,
    frozen: np.ndarray,
    drawn: Span,
    loss_0: float,
    num_params: int,
) -> Chains:
    chains, warmup = sampler.chains, drawn.warmup
    assert sampler.nbeta is not None  # settled
    losses = results["loss"][:chains]
    values = sampler.nbeta * (losses[good][:, warmup:] - loss_0)
    step_size = _mean(results["step_size"][:chains])
    rejected = results["rejected"][:chains][:, warmup:]
    accepted = acceptance = energy = math.nan
    if "acceptance" in results:
        accepted = _mean(results["acceptance"][:chains][good, warmup:])
    distance = np.square(results["distance"][:chains][good, warmup:].astype(np.float64))
    if isinstance(sampler, MclmcSampler):
        # Of a normal error, from its median: a few steps through a steep place are not what is meant.
        errors = np.square(results["energy_error"][:chains][good, warmup:])
        energy = float(np.median(errors)) / MEDIAN_SQUARE / num_params if errors.size else math.nan
        acceptance = 1 - float(rejected.mean())
    elif not isinstance(sampler, StochasticSampler):
        acceptance = accepted
    if isinstance(sampler, StochasticSampler):
        steps = float((warmup - recorded(sampler, tuning_points(sampler))) * sampler.thinning)
    else:
        steps = float(sampler.warmup)
    return Chains(
        diverged_at=[_diverged_at(sampler, row) for row in losses],
        frozen=frozen,
        acceptance=acceptance,
        mala_acceptance=accepted if isinstance(sampler, StochasticSampler) else math.nan,
        energy_variance=energy,
        divergences=int(rejected.sum()),
        draws=chains * drawn.draws,
        warmup_steps=steps,
        relaxation_time=relaxation_time(sampler, step_size) if step_size > 0 else math.nan,
        drift=drift(values),
        distance_r_hat=estimate(distance, 0.0, 1.0).r_hat if len(distance) > 1 else math.nan,
        highest=tuple(float(v) for v in values.max(axis=1)) if values.size else (),
        step_size=step_size,
        full_gradients=float(results["full_gradients"][:, -1].sum()),
    )


def _notes(found: Estimate, advice: Advice, target: Record) -> tuple[str, ...]:
    sampler = advice.sampler
    notes = [f"target: {note}" for note in target.notes]
    if notes and found.llc < 0:
        notes.append("λ̂ is negative: near w0 there are lower losses, and chains go there")
    if sampler.chains == 1:
        notes.append("one chain cannot disagree with another: sampler.chains=4")
    if sampler.ess is not None and found.ess < sampler.ess:
        more = advice.longer(sampler.ess / max(found.ess, 1.0))
        notes.append(
            f"the budget of {sampler.max_gradients:,} gradients ended at ESS {found.ess:.0f} of "
            f"{sampler.ess:g}; for all: {more}"
        )
    return tuple(notes)


def _traces(
    results: Results,
    chains: int,
    good: np.ndarray,
    warmup: int,
    thin: np.ndarray,
    loss_0: float | None,
    nbeta: float,
    bias: float,
) -> dict[str, np.ndarray]:
    """Return the arrays that a record keeps.

    They are each trace at the same few points, and lambda-hat of each chain as far as it was known at each
    point, minus the bias of the whole run.
    """
    losses = results["loss"][:chains]
    running = np.full(losses.shape, np.nan)
    if loss_0 is not None:
        kept = losses[good][:, warmup:]
        means = np.cumsum(kept, axis=1) / np.arange(1, kept.shape[1] + 1)
        running[good, warmup:] = nbeta * (means - loss_0) - bias
    found = {
        "loss": losses[:, thin],
        "bias_loss": results["loss"][chains:][:, thin],
        "full_gradients": results["full_gradients"][:chains].mean(axis=0)[thin],
        "llc_running": running[:, thin],
    }
    for name in ("distance", "gradient_norm", "noise_norm"):
        if name in results:
            found[name] = results[name][:chains][:, thin]
    return found


def _diverged_at(sampler: SamplerConfig, losses: np.ndarray) -> int:
    bad = np.flatnonzero(~np.isfinite(losses))
    return step_of_point(sampler, int(bad[0])) if len(bad) else -1


def _thin(points: int) -> np.ndarray:
    """Return the indices of the trace points to keep: evenly spaced, and always with the last one."""
    stride = max(1, -(-points // TRACE_POINTS))
    return np.arange(points - 1, -1, -stride)[::-1]


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else math.nan


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
