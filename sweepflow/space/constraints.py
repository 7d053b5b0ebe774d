"""Rules between keys of one sample: give a key another value, or leave the sample out.

    {when: "optimizer == adam", set: {momentum: 0}}
    {when: "args.l1 > 0", set: {args.l2: "args.l1 * 2"}}
    {skip: "batch_size * learning_rate > 10"}
    {require: "min_learning_rate <= learning_rate"}

Rules are applied in their order, each to the result of the rules before it. A rule that uses a key without a
value (conditional, and with no default) does not apply.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.schema.fields import Config
from sweepflow.space.conditions import Condition, Predicate, predicate, text_of
from sweepflow.space.expressions import NoValueError
from sweepflow.space.terms import Term, term

FORMS = "{when: CONDITION, set: {KEY: VALUE}}, {skip: CONDITION} or {require: CONDITION}"


class SetConstraint(Config):
    """A rule that gives keys the values of `set` if `when` holds."""

    when: Condition
    set: dict[str, Any]

    @property
    def text(self) -> str:
        """The constraint in words, as reports name it."""
        assigned = ", ".join(f"{key}={value}" for key, value in self.set.items())
        return f"{text_of(self.when)} → {assigned}"


class SkipConstraint(Config):
    """A rule that leaves the sample out if `skip` holds."""

    skip: Condition

    @property
    def text(self) -> str:
        """The constraint in words, as reports name it."""
        return f"skip {text_of(self.skip)}"


class RequireConstraint(Config):
    """A rule that leaves the sample out if `require` does not hold."""

    require: Condition

    @property
    def text(self) -> str:
        """The constraint in words, as reports name it."""
        return f"require {text_of(self.require)}"


Constraint = SetConstraint | SkipConstraint | RequireConstraint
KINDS: dict[str, type[Constraint]] = {
    "set": SetConstraint,
    "skip": SkipConstraint,
    "require": RequireConstraint,
}


def parse_constraint(raw: object) -> Constraint:
    """Parse a constraint from plain data.

    Raises:
        ConfigError: for data in none of the three forms.
    """
    if isinstance(raw, Constraint):
        return raw
    if not isinstance(raw, Mapping):
        raise ConfigError(
            "a constraint is a mapping", got=repr(raw), allowed=FORMS, do="write it in a form above"
        )
    kinds = [name for name in KINDS if name in raw]
    if len(kinds) != 1:
        given = next((str(name) for name in raw if name not in (*KINDS, "when")), None)
        raise ConfigError(
            "a constraint does exactly one thing",
            got=dict(raw),
            allowed=FORMS,
            do="split it in two" if kinds else did_you_mean(given or "set", KINDS),
        )
    try:
        constraint = KINDS[kinds[0]].model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        raise ConfigError(
            f"a constraint cannot be read: {where}: {first['msg'].lower()}",
            got=dict(raw),
            allowed=FORMS,
            do="write it in a form above",
        ) from None
    if isinstance(constraint, SetConstraint) and not constraint.set:
        raise ConfigError(
            "a constraint sets nothing", got=dict(raw), allowed=FORMS, do="name what it sets, or remove it"
        )
    return constraint


@dataclass(frozen=True)
class BoundConstraint:
    """A constraint whose keys are known.

    Attributes:
        text: The constraint in words; reports count by this text.
        predicate: The condition.
        sets: The values that keys are set to, each after the keys that its value uses; empty if the
            constraint leaves samples out.
        skips_where: The result of the condition that leaves a sample out; None if the constraint sets keys.
    """

    text: str
    predicate: Predicate
    sets: Mapping[str, Term]
    skips_where: bool | None

    @property
    def keys(self) -> frozenset[str]:
        """Every key that the constraint uses or sets."""
        return self.predicate.keys.union(self.sets, *(one.keys for one in self.sets.values()))

    def skips(self, values: Mapping[str, Any]) -> bool:
        """Return whether a sample with these values is left out."""
        return self.skips_where is not None and self.predicate.holds(values) is self.skips_where

    def assigned(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the constraint sets in a sample, without the values that the sample already has.

        A value that uses another key of the same constraint sees the new value of that key. A value that uses
        its own key sees the old value.
        """
        if not self.sets or self.predicate.holds(values) is not True:
            return {}
        given: dict[str, Any] = {}
        try:
            for key, one in self.sets.items():
                given[key] = one.of({**values, **given})
        except NoValueError:
            return {}
        return {key: value for key, value in given.items() if not _has(values, key, value)}


def bind_constraint(constraint: Constraint, known: Collection[str]) -> BoundConstraint:
    """Bind a constraint to the keys that a sample or its configuration has.

    Raises:
        ConfigError: for an unknown key.
    """
    match constraint:
        case SetConstraint():
            return BoundConstraint(
                constraint.text, predicate(constraint.when, known), _ordered(constraint, known), None
            )
        case SkipConstraint():
            return BoundConstraint(constraint.text, predicate(constraint.skip, known), {}, True)
        case RequireConstraint():
            return BoundConstraint(constraint.text, predicate(constraint.require, known), {}, False)


def _ordered(constraint: SetConstraint, known: Collection[str]) -> dict[str, Term]:
    terms = {key: term(value, known, f"set: {key}") for key, value in constraint.set.items()}
    needs = {key: (one.keys & terms.keys()) - {key} for key, one in terms.items()}
    try:
        return {key: terms[key] for key in TopologicalSorter(needs).static_order()}
    except CycleError as error:
        raise ConfigError(
            "a constraint sets keys from one another in a circle",
            got=", ".join(f"{key}: {constraint.set[key]}" for key in dict.fromkeys(error.args[1])),
            allowed="values that depend on keys that are not themselves set from them",
            do="give one of them a value of its own, or split the constraint in two, applied in turn",
        ) from None


def _has(values: Mapping[str, Any], key: str, value: Any) -> bool:
    """Return whether the key already has the value; True and 1 are different here."""
    return key in values and values[key] == value and isinstance(values[key], bool) == isinstance(value, bool)
