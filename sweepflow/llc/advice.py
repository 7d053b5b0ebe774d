"""What to do about what speaks against an estimate: the override, and to what, from what was seen."""

from __future__ import annotations

import math

from sweepflow.llc.chains import Chains
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
)

SAFE_GROWTH = 1.5
"""How much more is advised than what was seen says is needed."""
MOST_GROWTH = 16.0


def smaller_step(sampler: SamplerConfig, chains: Chains) -> str:
    """The override that shortens steps that are far too long."""
    match sampler:
        case SgldSampler() | SgnhtSampler():
            if not sampler.tunes_step_size:
                return "sampler.step_size=auto"
            known = math.isfinite(chains.step_size) and chains.step_size > 0
            return f"sampler.step_size={typed(chains.step_size / 10)}" if known else ""
        case HmcSampler() | NutsSampler():
            return "sampler.target_acceptance=0.95"
        case MclmcSampler():
            return f"sampler.desired_energy_var={typed(sampler.desired_energy_var / 10)}"


def nearer(sampler: SamplerConfig) -> str:
    """The override that holds chains nearer to w0."""
    return f"sampler.gamma={typed(10 * sampler.gamma) if sampler.gamma else 1}"


def longer(sampler: SamplerConfig, chains: Chains, growth: float) -> str:
    """The override for more draws."""
    growth = min(SAFE_GROWTH * max(growth, 1.0), MOST_GROWTH)
    if sampler.draws == "auto":
        spent = max(chains.full_gradients, sampler.max_gradients or 0)
        return f"sampler.max_gradients={typed(growth * spent)}"
    return f"sampler.draws=auto, or sampler.draws={typed(growth * sampler.draws)}"


def farther(sampler: SamplerConfig, chains: Chains) -> str:
    """The overrides for chains that get farther."""
    more = longer(sampler, chains, 4.0)
    if isinstance(sampler, HmcSampler):
        return f"sampler.num_integration_steps={4 * sampler.num_integration_steps} {more}"
    return more


def longer_warmup(sampler: SamplerConfig, steps: float = 0, chains: Chains | None = None) -> str:
    """The override for a warm-up of at least so many steps, and of twice those there were."""
    if sampler.warmup != "auto":
        return f"sampler.warmup={typed(max(steps, 2 * sampler.warmup, 1000))}"
    if chains is None or sampler.max_gradients is None:
        return "sampler.warmup=10000"
    growth = min(max(2.0, SAFE_GROWTH * steps / max(chains.warmup_steps, 1)), MOST_GROWTH)
    return (
        f"sampler.max_gradients={typed(growth * sampler.max_gradients)}, or a larger γ: "
        f"sampler.gamma={typed(growth * sampler.gamma)}"
    )


def steps_drawn(sampler: SamplerConfig, chains: Chains) -> float:
    """Steps of a chain from its first draw to its last."""
    return chains.draws / sampler.chains * sampler.thinning


def typed(value: float) -> str:
    """A number to two digits, as it is typed: 45000, 1.3e-05, 0.5."""
    if 100 <= value < 1e12:
        digits = 10 ** (math.floor(math.log10(value)) - 1)
        return str(math.ceil(value / digits) * digits)
    return f"{float(f'{value:.2g}'):g}"
