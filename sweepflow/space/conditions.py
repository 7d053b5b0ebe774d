"""Conditions: an expression, or keys with the values that they must have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.space.expressions import NoValueError, bind, check_syntax
from sweepflow.space.terms import term


def _checked(condition: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(condition, str):
        check_syntax(condition)
    elif not condition:
        raise ConfigError(
            "a condition is empty",
            got="{}",
            allowed='{optimizer: sgd}, or "optimizer == sgd"',
            do="fill it in",
        )
    return condition


Condition = Annotated[str | dict[str, Any], AfterValidator(_checked)]
"""`"momentum > 0"`, or `{optimizer: [sgd, rmsprop]}`: each key has the value, or one of the listed ones.

A value that is itself a list is written as a list of lists: `{model.widths: [[64, 64]]}`; see `terms` for the
meaning of text.
"""


@dataclass(frozen=True)
class Predicate:
    """A condition bound to known keys.

    Attributes:
        text: The condition in words.
        keys: The dotted keys that the condition uses.
        holds: Function from values by dotted key to the truth of the condition; None if a key that the
            condition needs has no value.
    """

    text: str
    keys: frozenset[str]
    holds: Callable[[Mapping[str, Any]], bool | None]


def predicate(condition: str | dict[str, Any], known: Collection[str]) -> Predicate:
    """Bind a condition.

    Raises:
        ConfigError: for an unknown key, or an invalid expression.
    """
    if isinstance(condition, str):
        expression = bind(condition, known)
        return Predicate(condition, expression.keys, expression.holds)
    for key in condition:
        if key not in known:
            raise ConfigError(
                f"there is no key {key!r}",
                got=text_of(condition),
                allowed=", ".join(sorted(known)) or "no key at all",
                do=did_you_mean(key, known),
            )
    terms = {key: term(value, known, key) for key, value in condition.items()}

    def holds(values: Mapping[str, Any]) -> bool | None:
        if any(key not in values for key in condition):
            return None
        try:
            wanted = {key: one.of(values) for key, one in terms.items()}
        except NoValueError:
            return None
        return all(
            values[key] in one if isinstance(one, list) else values[key] == one for key, one in wanted.items()
        )

    keys = frozenset(condition).union(*(one.keys for one in terms.values()))
    return Predicate(text_of(condition), keys, holds)


def text_of(condition: str | Mapping[str, Any]) -> str:
    """A condition in words."""
    if isinstance(condition, str):
        return condition
    return " and ".join(
        f"{key} in {wanted}" if isinstance(wanted, list) else f"{key} == {wanted}"
        for key, wanted in condition.items()
    )
