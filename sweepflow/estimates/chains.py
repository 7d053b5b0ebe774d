"""What the chains of one trial did, as a verdict sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Chains:
    """What the chains of one trial did.

    Attributes:
        diverged_at: Step at which each chain left the finite numbers; -1 where it did not.
        frozen: Chains that never moved after warm-up.
        acceptance: Mean acceptance over chains that stayed finite; NaN where the sampler accepts everything.
        mala_acceptance: What a Metropolis correction would accept of SGLD's steps; NaN for other samplers.
        energy_variance: MCLMC's, per dimension; NaN for other samplers.
        divergences: Draws with a divergent or rejected trajectory, all chains.
        draws: Draws, all chains.
        warmup_steps: Steps of warm-up: after the tuning of a step size by stochastic gradients, which is a
            part of its own; with the adaptation of the others.
        relaxation_time: Steps in which the slowest direction relaxes; NaN where that is not known.
        drift: How far lambda-hat is higher in the last third of the draws than in the first, in standard
            errors.
        distance_r_hat: Rank-normalised split R-hat of the squared distance from w0; NaN where there is none.
        highest: The largest nbeta (L_n - L_0) of the draws of each chain that stayed finite.
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


@dataclass(frozen=True)
class Bias:
    """The step-size bias that SGLD's finer chains have measured.

    Attributes:
        value: In units of lambda-hat; it has been subtracted.
        error: Its standard error.
    """

    value: float
    error: float
