"""Whether an estimate can be trusted, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sweepflow.llc.estimate import Estimate
from sweepflow.store.record import Status

MAX_R_HAT = 1.05
"""Above it chains disagree (Vehtari et al. 2021 ask for 1.01; short chains rarely give it)."""
MIN_ESS = 50.0
"""Below it the error bar itself is a guess."""
MIN_ACCEPTANCE = 0.1
MAX_LOCALISATION = 0.3
"""Above it even a direction of curvature 1, as standardised regression has them, loses a quarter."""
MAX_DIVERGENT_SHARE = 0.01


@dataclass(frozen=True)
class Chains:
    """What the chains of one trial did.

    Attributes:
        diverged_at: Step at which each chain left the finite numbers; -1 where it did not.
        frozen: Chains that never moved after warm-up.
        acceptance: Mean acceptance over sound chains; NaN where the sampler accepts everything.
        divergences: Divergent or rejected draws, all chains.
        draws: Draws, all chains, those included that thinning drops.
    """

    diverged_at: Sequence[int]
    frozen: Bool[np.ndarray, " chains"]
    acceptance: float
    divergences: int
    draws: int


def sound(losses: Float[np.ndarray, "chains points"]) -> Bool[np.ndarray, " chains"]:
    """Chains whose every recorded loss is finite."""
    return np.isfinite(losses).all(axis=1)


def verdict(
    estimate: Estimate,
    chains: Chains,
    *,
    num_params: int,
    bias: float | None,
    bias_error: float | None,
    target_reasons: Sequence[str],
    localisation: float = 0.0,
) -> tuple[Status, tuple[str, ...]]:
    """Status of an estimate and the reasons where it is not `ok`.

    Args:
        estimate: From the sound chains.
        chains: What all chains did.
        num_params: d; an LLC is at most d/2, so more says that the basin was left.
        bias: lambda-hat at the step size minus at a quarter of it (SGLD), or None.
        bias_error: Half-width of that difference's 95 % interval.
        target_reasons: Why the target itself is not a minimum.
        localisation: gamma / nbeta, the curvature below which a direction counts less than half.
    """
    reasons = [f"target: {reason}" for reason in target_reasons]
    lost = [
        f"chain {i + 1} diverged at step {step}" for i, step in enumerate(chains.diverged_at) if step >= 0
    ]
    if len(lost) == len(chains.diverged_at):
        steps = sorted(set(chains.diverged_at))
        at = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
        return "diverged", (*reasons, f"every chain diverged, at {at}")
    reasons += lost if len(lost) <= 3 else [f"{len(lost)} chains diverged, first: {lost[0]}"]
    reasons += [f"chain {i + 1} is frozen: it never moved" for i in np.flatnonzero(chains.frozen)]
    if estimate.llc > num_params / 2 + 3 * np.nan_to_num(estimate.mcse):
        reasons.append(
            f"step size too large: loss left the basin (λ̂ {estimate.llc:.3g} > d/2 = {num_params / 2:g})"
        )
    if estimate.llc < 0:
        reasons.append(f"negative λ̂ {estimate.llc:.3g}: w0 is no minimum, or chains found a lower one")
    if localisation > MAX_LOCALISATION:
        reasons.append(f"γ is {localisation:.2g} nβ: directions of less curvature are hidden, λ̂ is too low")
    if estimate.r_hat > MAX_R_HAT:
        reasons.append(f"R̂ {estimate.r_hat:.2f} > {MAX_R_HAT}")
    if estimate.ess < MIN_ESS:
        reasons.append(f"ESS {estimate.ess:.0f} < {MIN_ESS:.0f}")
    if chains.acceptance < MIN_ACCEPTANCE:
        reasons.append(f"acceptance {chains.acceptance:.2f} < {MIN_ACCEPTANCE}")
    if chains.divergences > MAX_DIVERGENT_SHARE * chains.draws:
        reasons.append(f"{chains.divergences} of {chains.draws} draws diverged")
    if bias is not None and bias_error is not None and abs(bias) > bias_error:
        reasons.append(f"step-size bias {bias:+.2g} exceeds its error bar {bias_error:.2g}")
    return ("flagged" if reasons else "ok"), tuple(reasons)
