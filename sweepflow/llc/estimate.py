"""lambda-hat and its error bar from recorded losses.

    lambda-hat = nbeta (E[L_n(w)] - L_n(w0))

Lau, Furman, Wang, Murfet and Wei 2024 (The local learning coefficient), eq. 19, the expectation under the
localised posterior. The error is the Monte Carlo standard error sd / sqrt(ESS) with the effective
sample size of the mean, over the chains together (Vehtari et al. 2021).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

INTERVAL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A pooled estimate; NaN where it cannot be computed.

    Attributes:
        llc: lambda-hat, the mean over chains.
        mcse: Its Monte Carlo standard error.
        low, high: Ends of the 95 % interval.
        chains: lambda-hat of each chain.
        ess: Effective sample size of the mean loss, over all chains.
        r_hat: Rank-normalised split R-hat of the loss; a single chain is compared with itself, by halves.
    """

    llc: float
    mcse: float
    low: float
    high: float
    chains: tuple[float, ...]
    ess: float
    r_hat: float


def estimate(losses: Float[np.ndarray, "chains draws"], loss_0: float, nbeta: float) -> Estimate:
    """Estimate the LLC from the kept draws of sound chains.

    Args:
        losses: L_n at each draw, every value finite; at least 4 draws a chain, or no chain at all.
        loss_0: L_n(w0).
        nbeta: Inverse temperature times n.
    """
    # They take a second, which a command that estimates nothing need not wait for.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]
    from scipy import stats

    nan = float("nan")
    if not len(losses):
        return Estimate(nan, nan, nan, nan, (), nan, nan)
    values = nbeta * (losses - loss_0)
    llc = float(values.mean())
    if np.ptp(values) == 0:
        ess = r_hat = mcse = nan  # nothing moved: there is no error to speak of, only a fault
    else:
        with warnings.catch_warnings():
            # A chain that does not move divides by zero inside; it is found and named as frozen.
            warnings.simplefilter("ignore", RuntimeWarning)
            ess = float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean"))
            r_hat = float(array_stats.rhat(_at_least_two(values), chain_axis=0, draw_axis=1))
        mcse = float(values.std(ddof=1) / np.sqrt(ess))
    # With few effective draws the normal quantile is too short.
    quantile = float(stats.t.ppf(0.5 + INTERVAL / 2, max(ess - 1, 1))) if np.isfinite(ess) else nan
    return Estimate(
        llc=llc,
        mcse=mcse,
        low=llc - quantile * mcse,
        high=llc + quantile * mcse,
        chains=tuple(float(v) for v in values.mean(axis=1)),
        ess=ess,
        r_hat=r_hat,
    )


def _at_least_two(values: Float[np.ndarray, "chains draws"]) -> Float[np.ndarray, "chains draws"]:
    """The chains, or the halves of a single one: R-hat is not defined for one, but a drift must show."""
    if len(values) > 1:
        return values
    half = values.shape[1] // 2
    return values[0, -2 * half :].reshape(2, half)
