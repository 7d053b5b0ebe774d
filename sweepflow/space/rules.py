"""Application of a space's conditions and constraints to one sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sweepflow.errors import ConfigError
from sweepflow.space.choices import Joint
from sweepflow.space.conditions import Predicate, predicate
from sweepflow.space.constraints import BoundConstraint, Constraint, SetConstraint, bind_constraint
from sweepflow.space.distribution import Distribution, copied
from sweepflow.space.parse import keys_of

Row = dict[str, Any]
"""One sample: values by dotted key; the configuration's own default applies to a missing key."""


@dataclass(frozen=True)
class Settled:
    """A sample after the rules.

    Attributes:
        row: The values of the sample; None if the sample is left out.
        fired: The constraints that changed the sample or left it out, in words, in their order.
    """

    row: Row | None
    fired: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """Conditions and constraints, bound to the keys that are known.

    Attributes:
        conditions: Conditions by parameter name, ordered so that a key comes before the parameters that
            depend on it; None for a parameter that is always drawn.
        joints: Names of the parameters whose values are mappings of keys.
        constraints: The constraints in their order.
        fixed: Values and defaults of keys; constraints see them for keys that a sample leaves out.
        undrawn: `fixed` without the keys that the space draws, as conditions see it.
    """

    conditions: Mapping[str, Predicate | None]
    joints: frozenset[str]
    constraints: Sequence[BoundConstraint]
    fixed: Mapping[str, Any]
    undrawn: Mapping[str, Any]

    def settle(self, drawn: Mapping[str, Any]) -> Settled:
        """Apply conditions and constraints to one sample.

        Each constraint sees the result of the constraints before it. A key that a constraint sets stays set;
        the conditions of the other keys are then evaluated again.

        Args:
            drawn: A value for each parameter name.
        """
        overlay: Row = {}
        row = self._active(drawn, overlay)
        fired: list[str] = []
        for constraint in self.constraints:
            values = {**self.fixed, **row}
            if constraint.skips(values):
                return Settled(None, (*fired, constraint.text))
            assigned = constraint.assigned(values)
            if assigned:
                overlay |= copied(assigned)
                fired.append(constraint.text)
                row = self._active(drawn, overlay)
        return Settled(row, tuple(fired))

    def _active(self, drawn: Mapping[str, Any], overlay: Row) -> Row:
        """The values that constraints have set, and the drawn values of the other keys whose conditions hold.

        A condition on a drawn key that is left out does not hold, whatever that key's default is.
        """
        row = dict(overlay)
        for name, condition in self.conditions.items():
            if condition is None or condition.holds({**self.undrawn, **row}) is True:
                values = drawn[name] if name in self.joints else {name: drawn[name]}
                row = {**values, **row}
        return dict(sorted(row.items()))


def bind_rules(
    parameters: Mapping[str, Distribution], constraints: Sequence[Constraint], fixed: Mapping[str, Any]
) -> Rules:
    """Bind the rules of a space.

    Args:
        parameters: The distributions of the space, with their conditions, by name.
        constraints: The constraints in the order in which they are applied.
        fixed: Values and defaults of keys that are not drawn.

    Raises:
        ConfigError: for a key that neither the space nor `fixed` has, and for conditions that depend on each
            other in a cycle.
    """
    owner = {key: name for name, item in parameters.items() for key in keys_of(name, item)}
    assigned = {key for item in constraints if isinstance(item, SetConstraint) for key in item.set}
    known = {*owner, *fixed, *assigned}
    conditions = {name: _condition(name, item, known) for name, item in parameters.items()}
    return Rules(
        conditions={name: conditions[name] for name in _ordered(conditions, owner)},
        joints=frozenset(name for name, item in parameters.items() if isinstance(item, Joint)),
        constraints=[bind_constraint(constraint, known) for constraint in constraints],
        fixed=fixed,
        undrawn={key: value for key, value in fixed.items() if key not in owner},
    )


def _condition(name: str, distribution: Distribution, known: set[str]) -> Predicate | None:
    if distribution.when is None:
        return None
    try:
        return predicate(distribution.when, known)
    except ConfigError as error:
        raise ConfigError(
            f"{name}: when: {error.what}", got=error.got, allowed=error.allowed, do=error.do
        ) from None


def _ordered(conditions: Mapping[str, Predicate | None], owner: Mapping[str, str]) -> list[str]:
    """Parameter names, each after the parameters that its condition uses."""
    needs = {
        name: {owner[key] for key in condition.keys if key in owner} if condition else set()
        for name, condition in conditions.items()
    }
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise ConfigError(
            "conditions go round in a circle",
            got=" needs ".join(reversed(error.args[1])),
            allowed="keys whose conditions do not depend on themselves",
            do="remove `when` from one of them",
        ) from None
