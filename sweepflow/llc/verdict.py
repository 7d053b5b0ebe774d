"""Whether an estimate can be trusted, in words, and what to do where it cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from sweepflow.llc.estimate import Estimate
from sweepflow.llc.length import LEAST_TIMES, MAX_DRIFT, MAX_R_HAT, RARE, WARMUP_TIMES
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
    StochasticSampler,
)
from sweepflow.store.record import Status

MIN_ESS = 100.0
"""Below it the error bar itself is a guess."""
MIN_ACCEPTANCE = 0.1
MIN_MALA_ACCEPTANCE = 0.8
"""Of SGLD's steps, where nothing else measures what their size does: below it errors of 10 % were seen, and
of 80 % at 0.56."""
MAX_LOCALISATION = 0.3
"""Above it even a direction of curvature 1, as standardised regression has them, loses a quarter."""
MAX_DIVERGENT_SHARE = 0.01
MAX_DISTANCE_R_HAT = 1.5
"""Of the squared distance from w0, which forgets more slowly than the loss: 1.0 to 1.2 where λ̂ is right,
2.2 to 2.4 where it is 12 to 30 % low, on deep linear networks."""
MAX_BIAS = 0.2
"""Share of lambda-hat up to which a step-size bias is taken to be proportional to the step size."""
MAX_ENERGY_RATIO = 3.0
"""MCLMC's energy variance, over what it was tuned to."""
LEAST_TUNING = 500
"""Steps of MCLMC's warm-up below which it has not seen enough to tune itself."""
SAFE_GROWTH = 1.5
"""How much more is advised than what was seen says is needed."""
MOST_GROWTH = 16.0


class Finding(NamedTuple):
    """What speaks against an estimate.

    Attributes:
        reason: In words.
        do: The override that mends it, or what else to do; empty where nothing is known to.
    """

    reason: str
    do: str = ""


@dataclass(frozen=True)
class Bias:
    """The step-size bias that SGLD's finer chains have measured.

    Attributes:
        value: In units of lambda-hat; it has been subtracted.
        error: Its standard error.
    """

    value: float
    error: float


@dataclass(frozen=True)
class Chains:
    """What the chains of one trial did.

    Attributes:
        diverged_at: Step at which each chain left the finite numbers; -1 where it did not.
        frozen: Chains that never moved after warm-up.
        acceptance: Mean acceptance over sound chains; NaN where the sampler accepts everything.
        mala_acceptance: What a Metropolis correction would accept of SGLD's steps; NaN for other samplers.
        energy_variance: MCLMC's, per dimension; NaN for other samplers.
        divergences: Draws with a divergent or rejected trajectory, all chains.
        draws: Draws, all chains.
        warmup_steps: Steps of warm-up after tuning.
        relaxation_time: Steps in which the slowest direction relaxes; NaN where that is not known.
        drift: How far lambda-hat is higher in the last third of the draws than in the first, in standard
            errors.
        distance_r_hat: Rank-normalised split R-hat of the squared distance from w0; NaN where there is none.
        highest: The largest nbeta (L_n - L_0) of each sound chain's draws.
        step_size: Of the draws, the mean over chains.
        full_gradients: Spent, all chains.
    """

    diverged_at: Sequence[int]
    frozen: Bool[np.ndarray, " chains"]
    acceptance: float
    mala_acceptance: float
    energy_variance: float
    divergences: int
    draws: int
    warmup_steps: float
    relaxation_time: float
    drift: float
    distance_r_hat: float
    highest: Sequence[float]
    step_size: float
    full_gradients: float


def verdict(
    sampler: SamplerConfig,
    estimate: Estimate,
    chains: Chains,
    *,
    num_params: int,
    bias: Bias | None,
    target: Sequence[Finding],
) -> tuple[Status, tuple[Finding, ...]]:
    """Status of an estimate, and what speaks against it where that is not `ok`.

    Args:
        sampler: As it was run, settled.
        estimate: From the sound chains, less the bias.
        chains: What all chains did.
        num_params: d; an LLC is at most d/2, so more says that the basin was left.
        bias: SGLD's, or None.
        target: What speaks against the target.
    """
    found = [Finding(f"target: {reason}", do) for reason, do in target]
    smaller = _smaller_step(sampler, chains)
    lost = [
        f"chain {i + 1} diverged at step {step}" for i, step in enumerate(chains.diverged_at) if step >= 0
    ]
    if len(lost) == len(chains.diverged_at):
        steps = sorted(set(chains.diverged_at))
        at = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
        return "diverged", (*found, Finding(f"every chain diverged, at {at}", smaller))
    reasons = lost if len(lost) <= 3 else [f"{len(lost)} chains diverged, first: {lost[0]}"]
    found += [Finding(reason, smaller) for reason in reasons]
    found += _frozen(sampler, chains)
    found += _basin(sampler, estimate, chains, num_params, smaller)
    found += _posterior(sampler, estimate)
    if not chains.frozen.all():
        found += _mixing(sampler, estimate, chains)
    found += _steps(sampler, estimate, chains, bias)
    return ("flagged" if found else "ok"), tuple(found)


def _frozen(sampler: SamplerConfig, chains: Chains) -> Iterator[Finding]:
    frozen = np.flatnonzero(chains.frozen)
    if len(frozen) == len(chains.frozen):
        yield Finding(
            "the loss is the same at every draw: it does not depend on w, or chains never moved",
            "sampler.step_size=auto"
            if isinstance(sampler, StochasticSampler)
            else "look at the target's data",
        )
        return
    for i in frozen:
        yield Finding(f"chain {i + 1} is frozen: it never moved", _longer_warmup(sampler))


def _basin(
    sampler: SamplerConfig, estimate: Estimate, chains: Chains, num_params: int, smaller: str
) -> Iterator[Finding]:
    """What no chain does that has stayed in the basin, each by itself: others' errors would hide it."""
    half = num_params / 2
    each = max(1.0, np.nan_to_num(estimate.ess, nan=1.0) / max(1, len(estimate.chains)))
    # Of a regular minimum the energy has mean d/2 and variance d/2; a singular one has less of both.
    most = half + 4 * math.sqrt(half / each)
    away = [(i, value) for i, value in enumerate(estimate.chains) if value > most]
    wide = f"sampler.gamma={_round(10 * sampler.gamma)}" if sampler.gamma else "sampler.gamma=1"
    if away:
        i, value = max(away, key=lambda pair: pair[1])
        more = f", and {len(away) - 1} more" if len(away) > 1 else ""
        yield Finding(
            f"chain {i + 1}{more} left the basin: its λ̂ {value:.3g} > d/2 = {half:g}",
            f"{smaller}, or {wide}" if smaller else wide,
        )
    elif chains.highest:
        # P(E > t) <= 2^(d/2) exp(-t/2): the energy's moment generating function at a half, by halving nbeta.
        t = num_params * math.log(2) + 2 * math.log(max(chains.draws, 1) / RARE)
        i = int(np.argmax(chains.highest))
        if chains.highest[i] > t:
            yield Finding(
                f"heavy tail: chain {i + 1} was at nβ(L − L₀) = {chains.highest[i]:.3g}, "
                f"where one in equilibrium is never above {t:.3g}",
                f"{smaller}, or {wide}" if smaller else wide,
            )
    if estimate.llc < 0:
        yield Finding(
            f"negative λ̂ {estimate.llc:.3g}: w0 is no minimum, or chains found a lower one",
            "train longer (target.steps), or hold chains nearer: " + wide,
        )


def _posterior(sampler: SamplerConfig, estimate: Estimate) -> Iterator[Finding]:
    assert sampler.nbeta is not None  # settled
    localisation = sampler.gamma / sampler.nbeta
    if localisation > MAX_LOCALISATION:
        yield Finding(
            f"γ is {localisation:.2g} nβ: directions of less curvature are hidden, λ̂ is too low",
            f"sampler.gamma={_round(0.1 * sampler.nbeta)}",
        )


def _mixing(sampler: SamplerConfig, estimate: Estimate, chains: Chains) -> Iterator[Finding]:
    wanted = max(MIN_ESS, sampler.ess or 0)
    longer = _longer(sampler, chains, wanted / estimate.ess if estimate.ess > 0 else MOST_GROWTH)
    twice = _longer(sampler, chains, 2.0)
    time = chains.relaxation_time
    if chains.warmup_steps < LEAST_TIMES * time:
        share = chains.warmup_steps / time
        yield Finding(
            f"warm-up is {share:.2g} of the {_round(time)} steps in which chains spread, "
            f"less than {LEAST_TIMES:g}",
            _longer_warmup(sampler, WARMUP_TIMES * time, chains),
        )
    if _steps_drawn(sampler, chains) < LEAST_TIMES * time:
        share = _steps_drawn(sampler, chains) / time
        yield Finding(
            f"draws cover {share:.2g} of the {_round(time)} steps in which chains spread, "
            f"less than {LEAST_TIMES:g}",
            _longer(sampler, chains, LEAST_TIMES / share),
        )
    if abs(chains.drift) > MAX_DRIFT:
        way = "rises" if chains.drift > 0 else "falls"
        yield Finding(
            f"λ̂ still {way}: the last third of the draws is {abs(chains.drift):.1f} standard errors "
            "off the first",
            _longer_warmup(sampler, 2 * chains.warmup_steps + _steps_drawn(sampler, chains), chains),
        )
    if estimate.spread_p < RARE:
        shown = ", ".join(f"{value:.3g}" for value in estimate.chains[:6])
        more = ", …" if len(estimate.chains) > 6 else ""
        yield Finding(f"chains disagree by more than their errors: λ̂ {shown}{more}", twice)
    if estimate.r_hat > MAX_R_HAT:
        yield Finding(f"R̂ {estimate.r_hat:.2f} > {MAX_R_HAT}", twice)
    if chains.distance_r_hat > MAX_DISTANCE_R_HAT:
        yield Finding(
            f"chains are at different distances from w0 (R̂ {chains.distance_r_hat:.2f}): they have not been "
            "everywhere that γ allows, where λ̂ may be higher (strata of nearly the same λ)",
            f"{_farther(sampler, chains)}, or a larger γ: sampler.gamma={_round(10 * sampler.gamma or 1.0)}",
        )
    if estimate.ess < MIN_ESS:
        yield Finding(f"ESS {estimate.ess:.0f} < {MIN_ESS:.0f}", longer)


def _steps(
    sampler: SamplerConfig, estimate: Estimate, chains: Chains, bias: Bias | None
) -> Iterator[Finding]:
    match sampler:
        case SgldSampler() | SgnhtSampler():
            if bias is not None:
                size = abs(estimate.llc) + 1e-300
                if abs(bias.value) - 2 * bias.error > MAX_BIAS * size:
                    smaller = chains.step_size * MAX_BIAS / 2 * size / abs(bias.value)
                    yield Finding(
                        f"step-size bias {bias.value:+.2g} is more than {MAX_BIAS:.0%} of λ̂",
                        f"sampler.step_size={_round(smaller)}",
                    )
            elif chains.mala_acceptance < MIN_MALA_ACCEPTANCE:
                lower = chains.step_size * (0.1 / (1 - chains.mala_acceptance)) ** (2 / 3)
                yield Finding(
                    f"a Metropolis correction would accept {chains.mala_acceptance:.2f} of the steps, "
                    f"less than {MIN_MALA_ACCEPTANCE}: λ̂ is too high",
                    "sampler.step_size=" + (f"{_round(lower)}" if sampler.tunes_step_size else "auto"),
                )
        case HmcSampler() | NutsSampler():
            if chains.acceptance < MIN_ACCEPTANCE:
                yield Finding(
                    f"acceptance {chains.acceptance:.2f} < {MIN_ACCEPTANCE}", _longer_warmup(sampler)
                )
            if chains.divergences > MAX_DIVERGENT_SHARE * chains.draws:
                yield Finding(
                    f"{chains.divergences} of {chains.draws} draws diverged",
                    "sampler.target_acceptance=0.95",
                )
        case MclmcSampler():
            if chains.divergences > MAX_DIVERGENT_SHARE * chains.draws:
                yield Finding(
                    f"{chains.divergences} of {chains.draws} draws diverged",
                    f"sampler.desired_energy_var={_round(sampler.desired_energy_var / 10)}",
                )
            if sampler.warmup < LEAST_TUNING:
                yield Finding(
                    f"step size and L are untuned: a warm-up of {sampler.warmup} steps is less than "
                    f"{LEAST_TUNING}",
                    "sampler.warmup=2000",
                )
            elif chains.energy_variance > MAX_ENERGY_RATIO * sampler.desired_energy_var:
                yield Finding(
                    f"energy variance {chains.energy_variance:.2g} a dimension > {MAX_ENERGY_RATIO:g} × "
                    f"{sampler.desired_energy_var:g}, which the step size was tuned to",
                    f"sampler.warmup={2 * sampler.warmup}",
                )


def _smaller_step(sampler: SamplerConfig, chains: Chains) -> str:
    """The override that shortens steps that are far too long."""
    match sampler:
        case SgldSampler() | SgnhtSampler():
            if not sampler.tunes_step_size:
                return "sampler.step_size=auto"
            known = math.isfinite(chains.step_size) and chains.step_size > 0
            return f"sampler.step_size={_round(chains.step_size / 10)}" if known else ""
        case HmcSampler() | NutsSampler():
            return "sampler.target_acceptance=0.95"
        case MclmcSampler():
            return f"sampler.desired_energy_var={_round(sampler.desired_energy_var / 10)}"


def _longer(sampler: SamplerConfig, chains: Chains, growth: float) -> str:
    """The override for more draws."""
    growth = min(SAFE_GROWTH * max(growth, 1.0), MOST_GROWTH)
    if sampler.draws == "auto":
        spent = max(chains.full_gradients, sampler.max_gradients or 0)
        return f"sampler.max_gradients={_round(growth * spent)}"
    return f"sampler.draws=auto, or sampler.draws={_round(growth * sampler.draws)}"


def _farther(sampler: SamplerConfig, chains: Chains) -> str:
    """The overrides for chains that get farther."""
    more = _longer(sampler, chains, 4.0)
    if isinstance(sampler, HmcSampler):
        return f"sampler.num_integration_steps={4 * sampler.num_integration_steps} {more}"
    return more


def _longer_warmup(sampler: SamplerConfig, steps: float = 0, chains: Chains | None = None) -> str:
    """The override for a warm-up of at least so many steps, and of twice those there were."""
    if sampler.warmup != "auto":
        return f"sampler.warmup={_round(max(steps, 2 * sampler.warmup, 1000))}"
    if chains is None or sampler.max_gradients is None:
        return "sampler.warmup=10000"
    growth = min(max(2.0, SAFE_GROWTH * steps / max(chains.warmup_steps, 1)), MOST_GROWTH)
    return (
        f"sampler.max_gradients={_round(growth * sampler.max_gradients)}, or a larger γ: "
        f"sampler.gamma={_round(growth * sampler.gamma)}"
    )


def _steps_drawn(sampler: SamplerConfig, chains: Chains) -> float:
    return chains.draws / sampler.chains * sampler.thinning


def _round(value: float) -> str:
    """A number to two digits, as it is typed: 45000, 1.3e-05, 0.5."""
    if 100 <= value < 1e12:
        digits = 10 ** (math.floor(math.log10(value)) - 1)
        return str(math.ceil(value / digits) * digits)
    return f"{float(f'{value:.2g}'):g}"
