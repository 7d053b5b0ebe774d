"""Base class of the distributions over one key, and the checks that several distributions share."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config
from sweepflow.space.conditions import Condition

U = Float[np.ndarray, "n"]
"""Points of the unit interval, float64, strictly between 0 and 1."""

SMALLEST_U, LARGEST_U = 2.0**-53, 1 - 2.0**-53
"""Limits of the points of a design, so that no quantile function has to return an infinite value."""

LARGEST_INT = 2**53
"""Largest integer up to which float64 represents every integer exactly."""

WEIGHT_TOLERANCE = 1e-9


class Distribution(Config):
    """A distribution over the values of one dotted key (of several keys, for a joint distribution).

    Final classes have a field `distribution`: their name in YAML.
    """

    when: Condition | None = None
    """Condition; the key is left out if it does not hold, so the configuration's own default applies."""

    @abstractmethod
    def ppf(self, u: U) -> list[Any]:
        """The quantiles at `u`, as plain Python values.

        Args:
            u: Points as float64 (n,), strictly between 0 and 1.

        Returns:
            n values; numbers are non-decreasing in `u`.
        """

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The smallest and the largest number; None if the distribution is unbounded or gives no numbers."""
        return None

    @property
    def is_log(self) -> bool:
        """True if values are drawn on a log scale: the axes of the key in reports are then logarithmic."""
        return False

    def levels(self) -> Sequence[Any] | None:
        """All possible values, in order; None if the distribution is continuous or unbounded."""
        return None


def check_interval(name: str, low: float, high: float) -> None:
    """Raise ConfigError unless low < high and their difference is finite."""
    if low >= high:
        raise ConfigError(
            f"{name}: low has to be below high",
            got=f"low={low!r}, high={high!r}",
            allowed="low < high",
            do=f"write low={high!r}, high={low!r}" if low > high else "use constant for a single value",
        )
    if not math.isfinite(high - low):
        raise ConfigError(
            f"{name}: the interval is wider than the largest float64 number",
            got=f"low={low!r}, high={high!r}",
            allowed="high - low up to 1.79e308",
            do="narrow it, or draw it on a log scale",
        )


def check_positive(name: str, field: str, value: float, do: str) -> None:
    """Raise ConfigError unless the value is above 0."""
    if not value > 0:
        raise ConfigError(
            f"{name}: {field} has to be above 0", got=f"{field}={value!r}", allowed=f"{field} > 0", do=do
        )


def check_choices(name: str, choices: Sequence[Any]) -> None:
    """Raise ConfigError for no choices, a choice given twice, or a choice that JSON cannot hold."""
    if not choices:
        raise ConfigError(
            f"{name} has no values", got="[]", allowed="at least one value", do="list its values"
        )
    seen: set[str] = set()
    for choice in choices:
        try:
            text = json.dumps(choice, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{name}: a value cannot be held by JSON: {error}",
                got=repr(choice),
                allowed="finite numbers, strings, true, false, null, lists and mappings of them",
                do="replace it",
            ) from None
        if text in seen:
            raise ConfigError(
                f"{name}: a value is given twice", got=repr(choice), do="remove one, or use weights instead"
            )
        seen.add(text)


def check_weights(name: str, weights: Sequence[float], choices: int) -> None:
    """Raise ConfigError unless each choice has a weight, no weight is negative, and the weights sum to 1."""
    if len(weights) != choices:
        raise ConfigError(
            f"{name}: {len(weights)} weights for {choices} values",
            got=f"weights={list(weights)}",
            allowed="one weight for each value",
            do="give as many weights as values",
        )
    total = math.fsum(weights)
    if min(weights) < 0 or not total > 0:
        raise ConfigError(
            f"{name}: weights are probabilities",
            got=f"weights={list(weights)}",
            allowed="weights of at least 0, not all of them 0",
            do="give 0 to a value that is never drawn, or remove it",
        )
    if abs(total - 1) > WEIGHT_TOLERANCE:
        normalised = [float(f"{weight / total:.12g}") for weight in weights]
        raise ConfigError(
            f"{name}: weights have to sum to 1",
            got=f"weights={list(weights)}, whose sum is {total:.12g}",
            allowed=f"a sum of 1, within {WEIGHT_TOLERANCE:g}",
            do=f"write weights: {normalised}",
        )


def copied(value: Any) -> Any:
    """A copy of a value, so that samples do not share lists or mappings."""
    match value:
        case list() | tuple():
            return [copied(item) for item in value]
        case Mapping():
            return {key: copied(item) for key, item in value.items()}
    return value
