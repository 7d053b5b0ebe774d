"""Learning coefficients that are known exactly, to compare estimates with.

There are two kinds of exact values. The learning coefficient lambda is a limit, n -> infinity. A sampler
draws from the localised posterior at finite n, exp(-nbeta L_n(w) - (gamma/2) |w - w0|^2). If its expectation
nbeta E[L_n(w) - L_n(w0)] can be computed without sampling, this expectation is the better reference: the
remaining difference of an estimate is the sampler's own error, and the distance of the expectation to lambda
is the estimator's bias at this n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sweepflow.errors import ConfigError


@dataclass(frozen=True)
class LearningCoefficient:
    """A learning coefficient and its multiplicity.

    Attributes:
        value: lambda.
        multiplicity: m. The free energy is nbeta L_0 + lambda log(nbeta) - (m - 1) log log(nbeta) + O(1)
            (Watanabe 2009, main theorem 6.2), so that its derivative, the expectation that an estimator
            draws, is lambda - (m - 1) / log(nbeta) and terms that fall faster.
    """

    value: float
    multiplicity: int


def quadratic_llc(eigenvalues: ArrayLike, nbeta: float, gamma: float) -> float:
    """The exact localised expectation at a minimum of a quadratic loss.

        1/2 sum_i nbeta h_i / (nbeta h_i + gamma)

    In the Hessian's eigenbasis each coordinate is Gaussian of precision nbeta h_i + gamma. For gamma -> 0
    this is half the Hessian's rank.

    Args:
        eigenvalues: h, (d,), of the Hessian of L_n at w0; none negative.
        nbeta: Inverse temperature times n, positive.
        gamma: Precision of the localising Gaussian, not negative; positive where some h_i = 0.

    Raises:
        ConfigError: for input outside these bounds.
    """
    h = np.atleast_1d(np.asarray(eigenvalues, np.float64))
    _check_temperature(nbeta, gamma)
    if h.ndim != 1 or not h.size or not np.isfinite(h).all() or (h < 0).any():
        raise ConfigError(
            "no quadratic minimum has these Hessian eigenvalues",
            got=eigenvalues,
            allowed="a list of one or more finite numbers, none negative",
        )
    if gamma == 0 and (h == 0).any():
        raise ConfigError(
            "a flat direction has no posterior where nothing localises it",
            got=f"gamma={gamma} with a zero eigenvalue",
            do="give gamma > 0",
        )
    return float(np.sum(nbeta * h / (nbeta * h + gamma)) / 2)


def normal_crossing_llc(exponents: Sequence[int]) -> LearningCoefficient:
    """lambda = min_i 1 / (2 k_i) of L(w) = prod_i w_i^(2 k_i) at w = 0; m counts the i that attain it.

    The zeta function, the integral of L(w)^z around 0, has its poles at z = -1 / (2 k_i): Watanabe 2009
    (Algebraic Geometry and Statistical Learning Theory), section 4.1.

    Args:
        exponents: k, one or more positive integers.

    Raises:
        ConfigError: for anything else.
    """
    _check_exponents(exponents)
    largest = max(exponents)
    return LearningCoefficient(1 / (2 * largest), list(exponents).count(largest))


LOG_STEP = 0.05
"""Spacing of the integration grid in log w: halving it changes no result by more than 1e-9."""
LOG_TAIL = 25.0
"""The grid ends where less than exp(-25) of the mass is left."""


def localised_normal_crossing_llc(exponents: Sequence[int], nbeta: float, gamma: float) -> float:
    """The exact localised expectation nbeta E[prod_i w_i^(2 k_i)], by numerical integration.

    In s_i = log w_i the integrand is analytic and decays at both ends, where the trapezoidal rule converges
    exponentially (Trefethen and Weideman 2014); its equal weights cancel in the ratio of two integrals.

    Args:
        exponents: k, one or two positive integers.
        nbeta: Inverse temperature times n, positive.
        gamma: Precision of the localising Gaussian, positive: the zero set is unbounded.

    Raises:
        ConfigError: for input outside these bounds.
    """
    _check_exponents(exponents)
    _check_temperature(nbeta, gamma)
    if len(exponents) > 2 or gamma == 0:
        raise ConfigError(
            "this localised normal crossing is not integrated numerically",
            got=f"exponents={list(exponents)}, gamma={gamma}",
            allowed="one or two exponents, and gamma > 0",
        )
    # Above the upper end the Gaussian has no mass. Below the lower end the volume exp(s) has none, even
    # compared with the narrowest posterior there is, of width nbeta^(-1/(2k)).
    upper = math.log(2 * LOG_TAIL / gamma) / 2
    axes = [
        np.arange(min(upper, -math.log(nbeta) / (2 * k)) - LOG_TAIL, upper + LOG_STEP, LOG_STEP)
        for k in exponents
    ]
    s = np.meshgrid(*axes, indexing="ij", sparse=True)
    log_energy = math.log(nbeta) + sum(2 * k * axis for k, axis in zip(exponents, s, strict=True))
    energy = np.exp(np.minimum(log_energy, 10.0))  # exp(-e^10) is zero already
    log_mass = sum(axis - gamma / 2 * np.exp(2 * axis) for axis in s) - energy
    mass = np.exp(log_mass - log_mass.max())
    return float(np.sum(mass * energy) / np.sum(mass))


def deep_linear_llc(widths: Sequence[int], rank: int) -> LearningCoefficient:
    """lambda and m of a product of matrices at the most singular parameter of its true set.

    With widths H_1, ..., H_{L+1}, true rank r and Delta_s = H_s - r, there is one set Sigma of l + 1 layers
    with max Delta within it < min Delta outside it, sum_Sigma Delta >= l max_Sigma Delta, and
    sum_Sigma Delta < l min Delta outside it. With S = sum_Sigma Delta, M = ceil(S / l), a = S - (M - 1) l,

        lambda = (-r^2 + r (H_1 + H_{L+1})) / 2 + a (l - a) / (4 l) - ((l - 1) / (4 l)) S^2
                 + 1/2 sum_{i<j in Sigma} Delta_i Delta_j,        m = a (l - a) + 1

    Aoyagi 2024 (Consideration on the learning efficiency of multiple-layered neural networks with linear
    units), theorem 1; for L = 2 it is the reduced-rank regression of Aoyagi and Watanabe 2005.

    Args:
        widths: All layer widths, input and output included; two or more positive integers.
        rank: r, of the true product; at most the smallest width.

    Raises:
        ConfigError: for input outside these bounds.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ConfigError(
            "these are not the widths of a deep linear network",
            got=list(widths),
            allowed="two or more positive widths, input and output included",
        )
    if not 0 <= rank <= min(widths):
        raise ConfigError(
            "no product of these matrices has this rank", got=rank, allowed=f"0 to {min(widths)}"
        )
    # The conditions make Sigma the narrowest l + 1 layers, for one l: S >= l max_Sigma Delta holds for l = 1
    # and, once it fails, for no larger l; the last condition says that it fails for l + 1.
    excess = sorted(width - rank for width in widths)
    last = max(k for k in range(1, len(excess)) if sum(excess[: k + 1]) >= k * excess[k])
    chosen = excess[: last + 1]
    total = sum(chosen)
    a = total - (-(-total // last) - 1) * last
    pairs = sum(x * y for x, y in itertools.combinations(chosen, 2))
    # Four l lambda is a whole number: one division, and the result is exact where it can be.
    numerator = (
        2 * last * (rank * (widths[0] + widths[-1]) - rank**2)
        + a * (last - a)
        - (last - 1) * total**2
        + 2 * last * pairs
    )
    return LearningCoefficient(numerator / (4 * last), a * (last - a) + 1)


def _check_temperature(nbeta: float, gamma: float) -> None:
    if not (math.isfinite(nbeta) and nbeta > 0 and math.isfinite(gamma) and gamma >= 0):
        raise ConfigError(
            "there is no such localised posterior",
            got=f"nbeta={nbeta}, gamma={gamma}",
            allowed="finite nbeta > 0 and gamma >= 0",
        )


def _check_exponents(exponents: Sequence[int]) -> None:
    if not len(exponents) or any(k < 1 or k != int(k) for k in exponents):
        raise ConfigError(
            "these are not the exponents of a normal crossing",
            got=list(exponents),
            allowed="one or more positive integers",
        )
