"""Distributions over real numbers; the quantile functions are from SciPy."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np
import scipy  # its `stats`, which takes half a second, is loaded where it is first asked for
from pydantic import model_validator

from sweepflow.errors import ConfigError
from sweepflow.space.distribution import (
    LARGEST_U,
    SMALLEST_U,
    Distribution,
    U,
    check_interval,
    check_positive,
)


class Uniform(Distribution):
    """x ~ U[low, high]."""

    distribution: Literal["uniform"] = "uniform"
    low: float
    high: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_interval(self.distribution, self.low, self.high)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        x = scipy.stats.uniform(self.low, self.high - self.low).ppf(u)
        return _inside(x, self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """See `Distribution`."""
        return self.low, self.high


class LogUniform(Distribution):
    """log x ~ U[log low, log high]."""

    distribution: Literal["log_uniform"] = "log_uniform"
    low: float
    high: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_positive(
            self.distribution,
            "low",
            self.low,
            "start at the smallest value that matters, such as low=1e-6; where 0 itself is meant, set it "
            "with a constraint or add it as a choice",
        )
        check_interval(self.distribution, self.low, self.high)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        return _inside(scipy.stats.loguniform(self.low, self.high).ppf(u), self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """See `Distribution`."""
        return self.low, self.high

    @property
    def is_log(self) -> bool:
        """See `Distribution`."""
        return True


class Normal(Distribution):
    """x ~ N(mean, sd²)."""

    distribution: Literal["normal"] = "normal"
    mean: float
    sd: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_positive(self.distribution, "sd", self.sd, "give a standard deviation, not a variance or a log")
        _check_finite(self)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        return _floats(scipy.stats.norm(self.mean, self.sd).ppf(u))


class LogNormal(Distribution):
    """log x ~ N(mean, sd²), natural logarithm: the median of x is exp(mean)."""

    distribution: Literal["log_normal"] = "log_normal"
    mean: float
    """Mean of log x."""
    sd: float
    """Standard deviation of log x."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_positive(self.distribution, "sd", self.sd, "give the standard deviation of log x")
        _check_finite(self)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return _floats(scipy.stats.lognorm(self.sd, scale=np.exp(self.mean)).ppf(u))

    @property
    def is_log(self) -> bool:
        """See `Distribution`."""
        return True


class TruncatedNormal(Distribution):
    """x ~ N(mean, sd²) given low <= x <= high; a bound that is not given is infinite."""

    distribution: Literal["truncated_normal"] = "truncated_normal"
    mean: float
    sd: float
    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_positive(self.distribution, "sd", self.sd, "give a standard deviation, not a variance or a log")
        if self.low is None and self.high is None:
            raise ConfigError(
                f"{self.distribution} has no bound",
                got=f"mean={self.mean!r}, sd={self.sd!r}",
                allowed="low, high or both",
                do="give a bound, or use normal",
            )
        if self.low is not None and self.high is not None:
            check_interval(self.distribution, self.low, self.high)
        _check_finite(self)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        low, high = self._ends
        a, b = (low - self.mean) / self.sd, (high - self.mean) / self.sd
        return _inside(scipy.stats.truncnorm(a, b, loc=self.mean, scale=self.sd).ppf(u), low, high)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """See `Distribution`."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def _ends(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high


def _check_finite(distribution: Normal | LogNormal | TruncatedNormal) -> None:
    """Raise ConfigError if the outermost quantiles are not finite, or 0 for a logarithmic distribution."""
    ends = distribution.ppf(np.array([SMALLEST_U, LARGEST_U]))
    if not all(math.isfinite(end) for end in ends) or (distribution.is_log and ends[0] == 0):
        raise ConfigError(
            f"{distribution.distribution} reaches beyond what float64 holds",
            got=f"mean={distribution.mean!r}, sd={distribution.sd!r}: values from {ends[0]:g} to {ends[1]:g}",
            allowed="finite values" + (" above 0" if distribution.is_log else ""),
            do="reduce sd, or move the mean",
        )


def _inside(x: np.ndarray, low: float, high: float) -> list[Any]:
    """Clip quantiles to their bounds: rounding can move one past its bound by one unit in the last place."""
    return _floats(np.clip(x, low, high))


def _floats(x: np.ndarray) -> list[Any]:
    return [float(value) for value in x]
