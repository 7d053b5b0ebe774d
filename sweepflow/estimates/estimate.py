"""lambda-hat and its error bar from recorded losses.

    lambda-hat = nbeta (E[L_n(w)] - L_n(w0))

Lau, Furman, Wang, Murfet and Wei 2024 (The local learning coefficient), eq. 19, the expectation under the
localised posterior. The error is a Monte Carlo standard error, the largest of three that fail in different
ways:

- sd / sqrt(ESS), with the effective sample size of the mean over the chains together (Vehtari et al. 2021),
  which covers short lags;
- the standard error from the means of a few long batches (Flegal, Haran and Jones 2008), which shows slow
  variation;
- the standard error from the chains' own means, which shows chains that have settled in different places.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

INTERVAL = 0.95
BATCHES = 16
"""Number of batches of all chains together. In a long enough run, each batch is so long that the next one is
independent of it."""
DOUBT = 0.05
"""Probability of the chains' spread below which the number of chains, not the number of draws, widens the
interval."""
LEAST_DRAWS = 4
"""Minimum number of draws of a chain for which an error can be computed."""


@dataclass(frozen=True)
class Estimate:
    """A pooled estimate; NaN if it cannot be computed.

    Attributes:
        llc: lambda-hat, the mean over chains.
        mcse: Its Monte Carlo standard error.
        low, high: Ends of the 95 % interval.
        chains: lambda-hat of each chain.
        ess: Effective sample size of the mean loss, over all chains.
        r_hat: Rank-normalised split R-hat of the loss; for a single chain, its two halves are compared.
        spread_p: Probability that chains of the same distribution have means this far apart, by the F-test of
            the variance of the means against the error of a single chain's mean; 1 for a single chain.
    """

    llc: float
    mcse: float
    low: float
    high: float
    chains: tuple[float, ...]
    ess: float
    r_hat: float
    spread_p: float = 1.0


def estimate(losses: Float[np.ndarray, "chains draws"], loss_0: float, nbeta: float) -> Estimate:
    """Estimate the LLC from the kept draws of the chains that stayed finite.

    Args:
        losses: L_n at each draw, every value finite; at least 4 draws a chain, or no chain at all.
        loss_0: L_n(w0).
        nbeta: Inverse temperature times n.
    """
    # They take a second, which a command that estimates nothing need not wait for.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]
    from scipy import stats

    nan = math.nan
    if not len(losses):
        return Estimate(nan, nan, nan, nan, (), nan, nan)
    values = nbeta * (losses - loss_0)
    llc = float(values.mean())
    means = values.mean(axis=1)
    spread_p = 1.0
    if np.ptp(values) == 0:
        ess = r_hat = mcse = freedom = nan  # nothing moved: there is no error to speak of, only a fault
    else:
        with warnings.catch_warnings():
            # A chain that does not move divides by zero inside; it is found and named as frozen.
            warnings.simplefilter("ignore", RuntimeWarning)
            ess = float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean"))
            r_hat = float(array_stats.rhat(_at_least_two(values), chain_axis=0, draw_axis=1))
        # With few effective draws or batches the normal quantile is too short; of so few chains only where
        # it is they that disagree.
        errors = [(float(values.std(ddof=1) / np.sqrt(ess)), max(ess - 1, 1)), _of_batches(values)]
        if len(values) > 1:
            spread_p = _spread_p(values)
            between = float(means.std(ddof=1) / np.sqrt(len(means)))
            errors.append((between, len(means) - 1 if spread_p < DOUBT else errors[0][1]))
        mcse, freedom = max(errors)
    quantile = float(stats.t.ppf(0.5 + INTERVAL / 2, freedom)) if np.isfinite(ess) else nan
    return Estimate(
        llc=llc,
        mcse=mcse,
        low=llc - quantile * mcse,
        high=llc + quantile * mcse,
        chains=tuple(float(v) for v in means),
        ess=ess,
        r_hat=r_hat,
        spread_p=spread_p,
    )


def corrected(found: Estimate, bias: float, error: float) -> Estimate:
    """Return an estimate minus a bias that itself has a standard error."""
    mcse = math.hypot(found.mcse, error)
    widening = mcse / found.mcse if found.mcse > 0 else 1.0
    llc = found.llc - bias
    return replace(
        found,
        llc=llc,
        mcse=mcse,
        low=llc - widening * (found.llc - found.low),
        high=llc + widening * (found.high - found.llc),
        chains=tuple(value - bias for value in found.chains),
    )


def drift(values: Float[np.ndarray, "chains draws"]) -> float:
    """Return the mean of the last third of the draws minus that of the first third.

    The unit is the standard error of their difference; the result is 0 if no such error can be computed.
    """
    third = values.shape[1] // 3 if values.size else 0
    if third < LEAST_DRAWS:
        return 0.0
    first, last = (estimate(part, 0.0, 1.0) for part in (values[:, :third], values[:, -third:]))
    error = math.hypot(first.mcse, last.mcse)
    return (last.llc - first.llc) / error if error > 0 else 0.0


def _spread_p(values: Float[np.ndarray, "chains draws"]) -> float:
    """Return the probability of chains' means this far apart; see `Estimate`.

    The error of one chain's mean is taken as the median over the chains, whose errors are alike if they draw
    alike. The large error of a chain that is in another place says nothing about the other chains.
    """
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        sizes = [float(array_stats.ess(v[None], chain_axis=0, draw_axis=1, method="mean")) for v in values]
    variances = values.var(axis=1, ddof=1) / np.array(sizes)
    finite = variances[np.isfinite(variances) & (variances > 0)]
    if not len(finite):
        return 1.0
    ratio = float(values.mean(axis=1).var(ddof=1) / np.median(finite))
    freedom = max(float(np.nansum(sizes)) - len(values), 1.0)
    return float(stats.f.sf(ratio, len(values) - 1, freedom))


def _of_batches(values: Float[np.ndarray, "chains draws"]) -> tuple[float, float]:
    """Return the standard error of the mean, from the spread of the batch means, and its degrees of
    freedom."""
    each = min(max(2, round(BATCHES / len(values))), values.shape[1] // 2)
    length = values.shape[1] // each
    means = values[:, -each * length :].reshape(-1, length).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(len(means))), len(means) - 1


def _at_least_two(values: Float[np.ndarray, "chains draws"]) -> Float[np.ndarray, "chains draws"]:
    """Return the chains, or the halves of a single chain: R-hat is not defined for one, but a drift must
    show."""
    if len(values) > 1:
        return values
    half = values.shape[1] // 2
    return values[0, -2 * half :].reshape(2, half)
