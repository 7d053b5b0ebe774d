"""The behaviour of the chains of one trial, as a verdict sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Chains:
    """The behaviour of the chains of one trial.

    Attributes:
        diverged_at: Step at which each chain became non-finite; -1 if it did not.
        frozen: Chains that never moved after warm-up.
        acceptance: Mean acceptance over chains that stayed finite; NaN if the sampler accepts everything.
        mala_acceptance: Acceptance that a Metropolis correction would give to SGLD's steps; NaN for other
            samplers.
        energy_variance: Energy variance of MCLMC, per dimension; NaN for other samplers.
        divergences: Number of draws with a divergent or rejected trajectory, over all chains.
        draws: Number of draws, over all chains.
        warmup_steps: Number of warm-up steps. For samplers by stochastic gradients, the tuning of the step
            size is a separate part and not counted; for the other samplers, the adaptation is counted.
        relaxation_time: Number of steps in which the slowest direction relaxes; NaN if it is not known.
        drift: Increase of lambda-hat from the first to the last third of the draws, in standard errors.
        distance_r_hat: Rank-normalised split R-hat of the squared distance from w0; NaN if there is none.
        highest: The largest nbeta (L_n - L_0) of the draws of each chain that stayed finite.
        step_size: Step size of the draws, as the mean over chains.
        full_gradients: Full gradients spent, over all chains.
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


@dataclass(frozen=True)
class Bias:
    """The step-size bias that SGLD's finer chains have measured.

    Attributes:
        value: The bias in units of lambda-hat; it has been subtracted.
        error: Its standard error.
    """

    value: float
    error: float
