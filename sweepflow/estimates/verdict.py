"""The verdict on an estimate, in words: trust in it, or advice if it cannot be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sweepflow.estimates.advice import MAX_LOCALISATION, MOST_ADVISED, Advice, either, typed
from sweepflow.estimates.chains import Bias
from sweepflow.estimates.estimate import Estimate
from sweepflow.estimates.length import LEAST_TIMES, MAX_DRIFT, MAX_R_HAT, RARE, WARMUP_TIMES
from sweepflow.samplers import tuning_points
from sweepflow.samplers.step_size_tuning import LEAST, MOST, bias_share
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
    StochasticSampler,
)
from sweepflow.storage.record import Status

MIN_ESS = 100.0
"""Effective sample size below which the error bar itself is a guess."""
MIN_ACCEPTANCE = 0.1
MAX_DIVERGENT_SHARE = 0.01
MAX_DISTANCE_R_HAT = 1.5
"""Maximum R-hat of the squared distance from w0, which decorrelates more slowly than the loss. On deep linear
networks it is 1.0 to 1.2 if λ̂ is right, and 2.2 to 2.4 if λ̂ is 12 to 30 % too low."""
MAX_BIAS = 0.2
"""Share of lambda-hat up to which a step-size bias is assumed to be proportional to the step size."""
MAX_ENERGY_RATIO = 3.0
"""Maximum ratio of MCLMC's energy variance to the value that it was tuned to."""
LEAST_TUNING = 500
"""Number of steps of MCLMC's warm-up below which MCLMC has not seen enough to tune itself."""
LEAST_BLOCKS = 50
"""Minimum number of blocks of SGLD's warm-up in which a step size has to be found."""


class Finding(NamedTuple):
    """A finding against an estimate.

    Attributes:
        reason: The reason, in words.
        do: The override that fixes it, or other advice; empty if no remedy is known.
    """

    reason: str
    do: str = ""


def verdict(
    estimate: Estimate,
    advice: Advice,
    *,
    num_params: int,
    bias: Bias | None,
    target: Sequence[Finding],
    at_minimum: bool = True,
) -> tuple[Status, tuple[Finding, ...]]:
    """Judge whether an estimate can be trusted.

    Args:
        estimate: Estimate from the chains that stayed finite, minus the bias.
        advice: Advice from the sampler and the behaviour of its chains.
        num_params: d; an LLC is at most d/2, so a larger estimate means that the basin was left.
        bias: Step-size bias of SGLD, or None.
        target: Findings against the target.
        at_minimum: Whether w0 is meant to be a minimum; if not, lambda-hat may be negative.

    Returns:
        The status, and the findings against the estimate if the status is not `ok`.
    """
    found = [Finding(f"target: {reason}", do) for reason, do in target]
    sampler, chains = advice.sampler, advice.chains
    lost = [
        f"chain {i + 1} diverged at step {step}" for i, step in enumerate(chains.diverged_at) if step >= 0
    ]
    if len(lost) == len(chains.diverged_at):
        steps = sorted(set(chains.diverged_at))
        at = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
        return "diverged", (*found, Finding(f"every chain diverged, at {at}", advice.smaller_step()))
    reasons = lost if len(lost) <= 3 else [f"{len(lost)} chains diverged, first: {lost[0]}"]
    found += [Finding(reason, advice.smaller_step()) for reason in reasons]
    found += _frozen(advice)
    found += _basin(estimate, num_params, advice)
    found += _sign(estimate, advice) if at_minimum else ()
    found += _posterior(sampler)
    if not chains.frozen.all():
        found += _mixing(estimate, advice)
    found += _steps(estimate, bias, advice)
    return ("flagged" if found else "ok"), tuple(found)


def _frozen(advice: Advice) -> Iterator[Finding]:
    sampler, chains = advice.sampler, advice.chains
    frozen = np.flatnonzero(chains.frozen)
    if len(frozen) == len(chains.frozen):
        by_hand = isinstance(sampler, StochasticSampler) and not sampler.tunes_step_size
        yield Finding(
            "the loss is the same at every draw: it does not depend on w, or chains never moved",
            "sampler.step_size=auto" if by_hand else "look at the target's data and model",
        )
        return
    for i in frozen:
        yield Finding(f"chain {i + 1} is frozen: it never moved", advice.longer_warmup())


def _basin(estimate: Estimate, num_params: int, advice: Advice) -> Iterator[Finding]:
    """Yield a finding if a chain did something that no chain in the basin does.

    Each chain is judged by itself, because the errors of other chains would hide it.
    """
    chains = advice.chains
    half = num_params / 2
    each = max(1.0, np.nan_to_num(estimate.ess, nan=1.0) / max(1, len(estimate.chains)))
    # Of a regular minimum the energy has mean d/2 and variance d/2; a singular one has less of both.
    most = half + 4 * math.sqrt(half / each)
    # Estimate and highest energy are of the chains that stayed finite.
    numbers = [i + 1 for i, at in enumerate(chains.diverged_at) if at < 0]
    away = [(number, value) for number, value in zip(numbers, estimate.chains, strict=True) if value > most]
    do = either(advice.smaller_step(), advice.nearer())
    if away:
        number, value = max(away, key=lambda pair: pair[1])
        more = f", and {len(away) - 1} more" if len(away) > 1 else ""
        yield Finding(f"chain {number}{more} left the basin: its λ̂ {value:.3g} > d/2 = {half:g}", do)
    elif chains.highest:
        # P(E > t) <= 2^(d/2) exp(-t/2): the energy's moment generating function at a half, by halving nbeta.
        t = num_params * math.log(2) + 2 * math.log(max(chains.draws, 1) / RARE)
        i = int(np.argmax(chains.highest))
        if chains.highest[i] > t:
            yield Finding(
                f"heavy tail: chain {numbers[i]} was at nβ(L − L₀) = {chains.highest[i]:.3g}, "
                f"where one in equilibrium is never above {t:.3g}",
                do,
            )


def _sign(estimate: Estimate, advice: Advice) -> Iterator[Finding]:
    if estimate.llc < 0:
        hold = advice.nearer()
        yield Finding(
            f"negative λ̂ {estimate.llc:.3g}: w0 is no minimum, or chains found a lower one",
            "train longer (target.steps)" + (f", or hold chains nearer: {hold}" if hold else ""),
        )


def _posterior(sampler: SamplerConfig) -> Iterator[Finding]:
    assert sampler.nbeta is not None  # settled
    localisation = sampler.gamma / sampler.nbeta
    if localisation > MAX_LOCALISATION:
        yield Finding(
            f"γ is {localisation:.2g} nβ: directions of less curvature are hidden, λ̂ is too low",
            f"sampler.gamma={typed(0.1 * sampler.nbeta)}",
        )


def _mixing(estimate: Estimate, advice: Advice) -> Iterator[Finding]:
    sampler, chains = advice.sampler, advice.chains
    time = chains.relaxation_time
    if chains.warmup_steps < LEAST_TIMES * time:
        share = chains.warmup_steps / time
        yield Finding(
            f"warm-up is {share:.2g} of the {typed(time)} steps in which chains spread, "
            f"less than {LEAST_TIMES:g}",
            advice.longer_warmup(WARMUP_TIMES * time),
        )
    drawn = chains.draws / sampler.chains * sampler.thinning
    # One budget for all that wants more draws.
    short = max(MIN_ESS, sampler.ess or 0) / estimate.ess if estimate.ess > 0 else MOST_ADVISED
    growth = max(2.0, short)
    if drawn < LEAST_TIMES * time:
        share = drawn / time
        yield Finding(
            f"draws cover {share:.2g} of the {typed(time)} steps in which chains spread, "
            f"less than {LEAST_TIMES:g}",
            advice.longer(LEAST_TIMES / share),
        )
    if abs(chains.drift) > MAX_DRIFT:
        way = "rises" if chains.drift > 0 else "falls"
        yield Finding(
            f"λ̂ still {way}: the last third of the draws is {abs(chains.drift):.1f} standard errors "
            "off the first",
            advice.longer_warmup(2 * chains.warmup_steps + drawn),
        )
    if estimate.spread_p < RARE:
        shown = ", ".join(f"{value:.3g}" for value in estimate.chains[:6])
        more = ", …" if len(estimate.chains) > 6 else ""
        yield Finding(f"chains disagree by more than their errors: λ̂ {shown}{more}", advice.longer(growth))
    if estimate.r_hat > MAX_R_HAT:
        yield Finding(f"R̂ {estimate.r_hat:.2f} > {MAX_R_HAT}", advice.longer(growth))
    if chains.distance_r_hat > MAX_DISTANCE_R_HAT:
        yield Finding(
            f"chains are at different distances from w0 (R̂ {chains.distance_r_hat:.2f}): they have not been "
            "everywhere that γ allows, where λ̂ may be higher (strata of nearly the same λ)",
            either(advice.farther(), advice.nearer()),
        )
    if estimate.ess < MIN_ESS:
        yield Finding(f"ESS {estimate.ess:.0f} < {MIN_ESS:.0f}", advice.longer(growth))
    elif estimate.low <= 0 < estimate.llc:
        yield Finding(
            f"the interval reaches from {estimate.low:.3g} to {estimate.high:.3g}: λ̂ is hardly known",
            advice.longer(growth),
        )


def _steps(estimate: Estimate, bias: Bias | None, advice: Advice) -> Iterator[Finding]:
    sampler, chains = advice.sampler, advice.chains
    match sampler:
        case SgldSampler() | SgnhtSampler():
            if sampler.tunes_step_size and (blocks := tuning_points(sampler)) < LEAST_BLOCKS:
                yield Finding(
                    f"the step size is untuned: it was looked for in {blocks * sampler.thinning} steps of "
                    f"the warm-up, fewer than {LEAST_BLOCKS * sampler.thinning}",
                    "sampler.warmup=auto",
                )
            if bias is not None:
                size, unsure = abs(estimate.llc), 2 * bias.error
                smaller = chains.step_size * MAX_BIAS / 2 * size / max(abs(bias.value), unsure, 1e-300)
                if abs(bias.value) - unsure > MAX_BIAS * size:
                    yield Finding(
                        f"step-size bias {bias.value:+.2g} is more than {MAX_BIAS:.0%} of λ̂",
                        f"sampler.step_size={typed(smaller)}",
                    )
                elif unsure > MAX_BIAS * size:
                    yield Finding(
                        f"step-size bias {bias.value:+.2g} is known to ± {unsure:.2g} only, more than "
                        f"{MAX_BIAS:.0%} of λ̂: the step is too long for two chains to stay near each other",
                        f"sampler.step_size={typed(smaller)}",
                    )
            elif (
                math.isfinite(estimate.mcse)
                and (share := bias_share(chains.mala_acceptance, estimate.llc)) > MAX_BIAS / 2
            ):
                yield Finding(
                    f"the step size adds some {share:.0%} to λ̂, by the {chains.mala_acceptance:.2f} of its "
                    "steps that a Metropolis correction would accept, and no bias chain has measured it",
                    "sampler.bias_chains=2" if not sampler.bias_chains else advice.smaller_step(),
                )
            if sampler.tunes_step_size and not 2 * LEAST < chains.step_size < MOST / 2:
                by_moments = isinstance(sampler, SgldSampler) and sampler.preconditioner != "none"
                yield Finding(
                    f"no step size was found between {LEAST:g} and {MOST:g}: the loss hardly changes near w0",
                    "sampler.preconditioner=none" if by_moments else "look at the target's data and model",
                )
        case HmcSampler() | NutsSampler():
            if chains.acceptance < MIN_ACCEPTANCE:
                yield Finding(
                    f"acceptance {chains.acceptance:.2f} < {MIN_ACCEPTANCE}", advice.longer_warmup()
                )
            yield from _divergences(advice)
        case MclmcSampler():
            yield from _divergences(advice)
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


def _divergences(advice: Advice) -> Iterator[Finding]:
    chains = advice.chains
    if chains.divergences > MAX_DIVERGENT_SHARE * chains.draws:
        yield Finding(f"{chains.divergences} of {chains.draws} draws diverged", advice.smaller_step())
