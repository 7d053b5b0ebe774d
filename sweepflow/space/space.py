"""A search space: distributions over dotted keys, conditions on them, and constraints between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.fingerprint import canonical_json
from sweepflow.schema.fields import Config
from sweepflow.space.choices import Joint
from sweepflow.space.constraints import Constraint, parse_constraint
from sweepflow.space.designs import UNIT_METHODS, UnitMethod, check_request, design_notes, unit_points
from sweepflow.space.distribution import Distribution
from sweepflow.space.grid import grid_columns
from sweepflow.space.parse import AnyDistribution, keys_of, parse_distribution
from sweepflow.space.rules import Row, bind_rules

Method = UnitMethod | Literal["grid"]
METHODS: tuple[Method, ...] = (*UNIT_METHODS, "grid")


@dataclass(frozen=True)
class Design:
    """The samples that were drawn from a space.

    Attributes:
        rows: The samples, with constraints applied and duplicates removed, in the design's order.
        changed: Number of samples that constraints changed but did not leave out.
        skipped: Number of samples that constraints left out.
        duplicates: Number of samples left out because an earlier sample is the same.
        by_constraint: Number of samples that each constraint changed or left out, by the constraint's words,
            in the order of the constraints.
        notes: Notes on the design for people, in words.
    """

    rows: list[Row]
    changed: int = 0
    skipped: int = 0
    duplicates: int = 0
    by_constraint: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class EmptyDesignError(ConfigError):
    """Constraints that leave no sample.

    Args:
        design: The empty design: no rows, and the counts that show the cause.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            f"the constraints leave none of the {design.skipped} samples",
            got="; ".join(f"{text}: {count}" for text, count in design.by_constraint.items()),
            allowed="constraints that some sample passes",
            do="loosen the constraint that skips most, or widen the distributions it looks at",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return EmptyDesignError, (self.design,)


class Space(Config):
    """Distributions by dotted key; a joint distribution may have any name.

    Every parameter is one dimension of the design, in the order of the sorted names, whether or not its
    condition holds. So neither the order in a file nor a condition changes the drawn values.
    """

    parameters: dict[str, AnyDistribution] = Field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Space:
        """Parse a space from plain data, as in a file of `conf/space/`.

        Raises:
            ConfigError: for data that is no space.
        """
        names = list(cls.model_fields)
        for name in raw:
            if name not in names:
                raise ConfigError(
                    f"a space has no field {name!r}",
                    got=name,
                    allowed=", ".join(names),
                    do=f"{did_you_mean(str(name), names)}; keys to draw go below `parameters`",
                )
        try:
            return cls.model_validate(dict(raw))
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(
                f"a space cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}",
                got=first["input"],
                allowed="parameters: {KEY: {distribution: NAME, ...}}, constraints: [...]",
                do="mend it",
            ) from None

    @field_validator("parameters", mode="before")
    @classmethod
    def _parse_parameters(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        return {str(key): parse_distribution(str(key), value) for key, value in raw.items()}

    @field_validator("constraints", mode="before")
    @classmethod
    def _parse_constraints(cls, raw: Any) -> Any:
        return [parse_constraint(value) for value in raw] if isinstance(raw, list | tuple) else raw

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.parameters and not self.constraints:
            raise ConfigError(
                "a space has neither parameters nor constraints",
                got="parameters: {}",
                allowed="at least one key with a distribution",
                do="add one, such as learning_rate: {distribution: log_uniform, low: 1e-4, high: 0.1}",
            )
        owners: dict[str, str] = {}
        for name, distribution in self.parameters.items():
            for key in keys_of(name, distribution):
                if key in owners:
                    raise ConfigError(
                        f"{key} is drawn twice",
                        got=f"by {owners[key]} and by {name}",
                        do="remove one of them",
                    )
                owners[key] = name
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """Every dotted key that is drawn, sorted."""
        return tuple(sorted(key for item in self.parameters.items() for key in keys_of(*item)))

    def replaced(self, parameters: Mapping[str, Distribution]) -> Space:
        """A copy of the space with these parameters added; they replace parameters with the same name.

        A parameter without a condition keeps the condition of the parameter that it replaces.
        """
        merged: dict[str, Distribution] = dict(self.parameters)
        for name, distribution in parameters.items():
            old = merged.get(name)
            if old is not None and distribution.when is None:
                distribution = distribution.model_copy(update={"when": old.when})
            merged[name] = distribution
        return Space(parameters=merged, constraints=self.constraints)

    def without(self, keys: Collection[str]) -> Space | None:
        """A copy of the space without these keys, which are given elsewhere; None if nothing is left.

        Raises:
            ConfigError: for a key that is drawn together with others.
        """
        for name, distribution in self.parameters.items():
            for key in keys_of(name, distribution):
                if (
                    key in keys
                    and isinstance(distribution, Joint)
                    and not set(distribution.keys) <= set(keys)
                ):
                    raise ConfigError(
                        f"{key} is drawn together with other keys, and cannot be given by itself",
                        got=f"{key}; the space draws {name}: {', '.join(distribution.keys)}",
                        allowed="all of these keys, or none",
                        do=f"leave {key} to the space, or give them all",
                    )
        kept = {
            name: distribution
            for name, distribution in self.parameters.items()
            if not set(keys_of(name, distribution)) <= set(keys)
        }
        return Space(parameters=kept, constraints=self.constraints) if kept or self.constraints else None

    def draw(
        self,
        samples: int,
        method: Method = "sobol",
        seed: int = 0,
        fixed: Mapping[str, Any] | None = None,
    ) -> Design:
        """Draw a design.

        Args:
            samples: Number of samples to draw; there are fewer rows if some samples are skipped or the same.
            method: The design. `sobol`, `halton` and `random` can be extended: the rows of a smaller design
                with the same seed are the first rows of a larger one.
            seed: Seed of the design.
            fixed: Values and defaults of the keys that are not drawn, by dotted key, as conditions and
                constraints see them.

        Raises:
            ConfigError: for an impossible number of samples, a condition on an unknown key, and conditions
                that depend on each other in a cycle.
            EmptyDesignError: if constraints leave no sample.
        """
        fixed = fixed or {}
        check_request(samples, seed)
        columns, notes = self._columns(samples, method, seed)
        rules = bind_rules(self.parameters, self.constraints, fixed)
        settled = [
            rules.settle(dict(zip(columns, values, strict=True)))
            # With constraints alone there is one sample, in which nothing is drawn.
            for values in (zip(*columns.values(), strict=True) if columns else [()])
        ]
        counts = dict.fromkeys((constraint.text for constraint in rules.constraints), 0)
        for sample in settled:
            for text in sample.fired:
                counts[text] += 1
        kept = [sample for sample in settled if sample.row is not None]
        skipped = len(settled) - len(kept)
        rows = _unique((sample.row for sample in kept if sample.row is not None), fixed)
        design = Design(
            rows=rows,
            changed=sum(bool(sample.fired) for sample in kept),
            skipped=skipped,
            duplicates=len(kept) - len(rows),
            by_constraint=counts,
            notes=notes,
        )
        if not rows:
            raise EmptyDesignError(design)
        return design

    def _columns(self, samples: int, method: Method, seed: int) -> tuple[dict[str, list[Any]], list[str]]:
        """The drawn values by parameter name, and notes on the design."""
        ordered: dict[str, Distribution] = {name: self.parameters[name] for name in sorted(self.parameters)}
        if not ordered:
            return {}, []
        if method == "grid":
            columns, note = grid_columns(ordered, samples)
            return columns, [note]
        points = unit_points(method, samples, len(ordered), seed)
        columns = {
            name: distribution.ppf(points[:, i]) for i, (name, distribution) in enumerate(ordered.items())
        }
        return columns, design_notes(method, points, seed)


def _unique(rows: Iterable[Row], fixed: Mapping[str, Any]) -> list[Row]:
    """The rows without duplicates: rows that give the same configuration as an earlier row."""
    rows = list(rows)
    keys = sorted({key for row in rows for key in row})
    seen: dict[str, Row] = {}
    for row in rows:
        full = {key: row.get(key, fixed.get(key)) for key in keys if key in row or key in fixed}
        seen.setdefault(canonical_json(full), row)
    return list(seen.values())
