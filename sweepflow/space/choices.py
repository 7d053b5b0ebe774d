"""Distributions over listed values: categorical, constant, and several keys drawn as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import scipy  # its `stats`, which takes half a second, is loaded where it is first asked for
from pydantic import model_validator

from sweepflow.errors import ConfigError
from sweepflow.space.distribution import Distribution, U, check_choices, check_weights, copied


class Categorical(Distribution):
    """One of `values`, which may be lists or anything that JSON can hold; without weights, all values have
    the same probability."""

    distribution: Literal["categorical"] = "categorical"
    values: tuple[Any, ...]
    weights: tuple[float, ...] | None = None
    """Probabilities, one for each value."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_choices(self.distribution, self.values)
        if self.weights is not None:
            check_weights(self.distribution, self.weights, len(self.values))
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`; the order is that of `values`."""
        return [copied(self.values[place]) for place in _places(u, len(self.values), self.weights)]

    def levels(self) -> Sequence[Any] | None:
        """See `Distribution`; values of weight 0 are omitted."""
        return _possible(self.values, self.weights)


class Constant(Distribution):
    """Always the same value."""

    distribution: Literal["constant"] = "constant"
    value: Any

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_choices(self.distribution, [self.value])
        return self

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`."""
        return [copied(self.value) for _ in u]

    def levels(self) -> Sequence[Any] | None:
        """See `Distribution`."""
        return (self.value,)


class Joint(Distribution):
    """Several keys drawn as one: each choice maps dotted keys to values.

    A key that a choice does not have is left out for that choice, so the configuration's own default applies.
    """

    distribution: Literal["joint"] = "joint"
    choices: tuple[dict[str, Any], ...]
    weights: tuple[float, ...] | None = None
    """Probabilities, one for each choice."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_choices(self.distribution, self.choices)
        if not self.keys:
            raise ConfigError(
                "joint: the choices name no keys",
                got=list(self.choices),
                allowed="choices such as {optimizer: sgd, learning_rate: 0.1}",
                do="name the keys that are drawn as one",
            )
        if self.weights is not None:
            check_weights(self.distribution, self.weights, len(self.choices))
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key of any choice, sorted."""
        return tuple(sorted({key for choice in self.choices for key in choice}))

    def ppf(self, u: U) -> list[Any]:
        """See `Distribution`; the values are mappings of dotted keys, in the order of `choices`."""
        return [copied(self.choices[place]) for place in _places(u, len(self.choices), self.weights)]

    def levels(self) -> Sequence[Any] | None:
        """See `Distribution`; choices of weight 0 are omitted."""
        return _possible(self.choices, self.weights)


def _places(u: U, choices: int, weights: Sequence[float] | None) -> list[int]:
    """The indices of the quantiles in a list of choices."""
    if weights is None:
        drawn = scipy.stats.randint(0, choices).ppf(u)
    else:
        p = np.array(weights, dtype=np.float64)
        p /= p.sum()
        # The summed weights may end one rounding below 1, and SciPy puts a quantile beyond them at 0.
        drawn = scipy.stats.rv_discrete(values=(np.arange(choices), p)).ppf(np.minimum(u, np.cumsum(p)[-1]))
    return [int(i) for i in np.clip(drawn, 0, choices - 1)]


def _possible(values: Sequence[Any], weights: Sequence[float] | None) -> Sequence[Any]:
    if weights is None:
        return values
    return [value for value, weight in zip(values, weights, strict=True) if weight > 0]
