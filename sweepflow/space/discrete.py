"""Distributions over integers, and distributions rounded to multiples of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import numpy as np
import scipy  # its `stats`, which takes half a second, is loaded where it is first asked for
from pydantic import Field, model_validator

from sweepflow.errors import ConfigError
from sweepflow.space.continuous import LogNormal, LogUniform, Normal, TruncatedNormal, Uniform
from sweepflow.space.distribution import LARGEST_INT, Distribution, U, check_interval, check_positive

Integer = Annotated[int, Field(ge=-LARGEST_INT, le=LARGEST_INT)]


class IntUniform(Distribution):
    """Integers from low to high, both included, with equal probability."""

    distribution: Literal["int_uniform"] = "int_uniform"
    low: Integer
    high: Integer

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_interval(self.distribution, self.low, self.high)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        return _integers(scipy.stats.randint(self.low, self.high + 1).ppf(u), self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """See `Distribution`."""
        return self.low, self.high

    def levels(self) -> Sequence[Any] | None:
        """See `Distribution`."""
        return range(self.low, self.high + 1)


class LogIntUniform(Distribution):
    """Integers from low to high, both included: x rounded where log x ~ U[log(low - 1/2), log(high + 1/2)].

    So the probability of k is log((k + 1/2) / (k - 1/2)), up to a factor: very nearly 1/k.
    """

    distribution: Literal["log_int_uniform"] = "log_int_uniform"
    low: Integer
    high: Integer

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_positive(self.distribution, "low", self.low, "start at 1, or use int_uniform")
        check_interval(self.distribution, self.low, self.high)
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        x = scipy.stats.loguniform(self.low - 0.5, self.high + 0.5).ppf(u)
        return _integers(np.rint(x), self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """See `Distribution`."""
        return self.low, self.high

    @property
    def is_log(self) -> bool:
        """See `Distribution`."""
        return True

    def levels(self) -> Sequence[Any] | None:
        """See `Distribution`."""
        return range(self.low, self.high + 1)


Numeric = Annotated[
    Uniform | LogUniform | Normal | LogNormal | TruncatedNormal | IntUniform | LogIntUniform,
    Field(discriminator="distribution"),
]


class Quantized(Distribution):
    """Another numeric distribution rounded to the nearest multiple of a step within its bounds."""

    distribution: Literal["quantized"] = "quantized"
    of: Numeric
    step: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_positive(self.distribution, "step", self.step, "give the distance between neighbouring values")
        if self.of.when is not None:
            raise ConfigError(
                "quantized: the condition belongs to the quantized key",
                got=f"of: {{when: {self.of.when}}}",
                do="write `when` beside `of`, not within it",
            )
        if self.of.bounds is not None:
            low, high = self.of.bounds
            first, last = self._multiples(low, high)
            if max(abs(first), abs(last)) > LARGEST_INT:
                raise ConfigError(
                    "quantized: the step is too small for the range",
                    got=f"step={self.step!r} from {low!r} to {high!r}",
                    allowed="values up to 2^53 steps away from 0",
                    do="take a larger step",
                )
            if first > last:
                raise ConfigError(
                    "quantized: no multiple of the step is within the bounds",
                    got=f"step={self.step!r} from {low!r} to {high!r}",
                    allowed=f"steps of at most {max(abs(low), abs(high)):g}",
                    do="take a smaller step",
                )
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        counts = np.rint(np.array(self.of.ppf(u), dtype=np.float64) / self.step)
        if self.of.bounds is not None:
            counts = np.clip(counts, *self._multiples(*self.of.bounds))
        return [self._value(int(count)) for count in counts]

    @property
    def bounds(self) -> tuple[float, float] | None:
        """See `Distribution`."""
        if self.of.bounds is None:
            return None
        first, last = self._multiples(*self.of.bounds)
        return self._value(first), self._value(last)

    @property
    def is_log(self) -> bool:
        """See `Distribution`."""
        return self.of.is_log

    def levels(self) -> Sequence[Any] | None:
        """See `Distribution`."""
        if self.of.bounds is None:
            return None
        first, last = self._multiples(*self.of.bounds)
        return _Multiples(self, range(first, last + 1))

    def _multiples(self, low: float, high: float) -> tuple[int, int]:
        """The first and the last multiple within bounds, counted in steps.

        The division is decimal, with the numbers as they were written: 0.3 is three steps of 0.1, though
        0.3 / 0.1 is below 3.
        """
        step = Decimal(repr(self.step))
        return math.ceil(Decimal(repr(low)) / step), math.floor(Decimal(repr(high)) / step)

    def _value(self, count: int) -> Any:
        """The value of `count` steps; an int if the distribution `of` gives ints and the step is whole."""
        value = Decimal(repr(self.step)) * count
        whole = isinstance(self.of, IntUniform | LogIntUniform) and self.step.is_integer()
        return int(value) if whole else float(value)


class _Multiples(Sequence[Any]):
    """Multiples of a step, computed on demand: there may be far more of them than fit into memory."""

    def __init__(self, of: Quantized, counts: range) -> None:
        self._of, self._counts = of, counts

    def __len__(self) -> int:
        return len(self._counts)

    def __getitem__(self, index: Any) -> Any:
        counts = self._counts[index]
        if isinstance(counts, int):
            return self._of._value(counts)
        return [self._of._value(count) for count in counts]


def _integers(x: np.ndarray, low: int, high: int) -> list[Any]:
    return [int(value) for value in np.clip(x, low, high)]
