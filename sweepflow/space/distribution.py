"""What every distribution over one key is, and the checks that several of them share."""

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
"""No point of a design is outside these, so that no quantile function is asked for an infinity."""

LARGEST_INT = 2**53
"""Integers beyond it are no float64 numbers any more."""

WEIGHT_TOLERANCE = 1e-9


class Distribution(Config):
    """A distribution over the values of one dotted key (of several, for a joint one).

    Final classes have a field `distribution`, their name in YAML.
    """

    when: Condition | None = None
    """The key is left out where this does not hold, so that the configuration's own default does."""

    @abstractmethod
    def ppf(self, u: U) -> list[Any]:
        """The quantiles at `u`, as plain Python values.

        Args:
            u: float64 (n,), strictly between 0 and 1.

        Returns:
            n values; numbers do not decrease where `u` does not.
        """

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the greatest number it gives; None where it is unbounded or gives no numbers."""
        return None

    @property
    def is_log(self) -> bool:
        """Whether it is drawn on a log scale: its axes in reports are logarithmic."""
        return False

    def levels(self) -> Sequence[Any] | None:
        """Every value it can give, in order; None where it is continuous or unbounded."""
        return None


def check_interval(name: str, low: float, high: float) -> None:
    """Raises ConfigError unless low < high and their difference is a number."""
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
    """Raises ConfigError unless the value is above 0."""
    if not value > 0:
        raise ConfigError(
            f"{name}: {field} has to be above 0", got=f"{field}={value!r}", allowed=f"{field} > 0", do=do
        )


def check_choices(name: str, choices: Sequence[Any]) -> None:
    """Raises ConfigError for no choices, one given twice, or one that JSON cannot hold."""
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
    """Raises ConfigError unless there is a weight for each choice, none negative, and they sum to 1."""
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
    """A value of its own for each sample: a list in one row must not be the list of another."""
    match value:
        case list() | tuple():
            return [copied(item) for item in value]
        case Mapping():
            return {key: copied(item) for key, item in value.items()}
    return value
