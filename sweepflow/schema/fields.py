"""Roles of configuration fields: a field decides the compiled program, a number fed to it, or neither.

Every field of a `Config` has exactly one role, declared once in its annotation:

- **static** (no marker): it changes the compiled program;
- **traced** (`Traced[float]`): a number fed to the program as a traced scalar: a truth value as a bool, a
  whole number as int32, a fraction as the program computes;
- **content** (`Content[int]`): it decides the values of the input arrays or of the random key, or the end of
  a run, but neither shapes nor the program (a data seed, a noise scale);
- **location** (`Location[str]`): it decides where or how the work runs; never part of a fingerprint.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import numpy as np
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from sweepflow.errors import ConfigError
from sweepflow.schema.bounds import bounds_of, takes_fractions
from sweepflow.schema.numbers import FRACTION, Number, fitting, held, plain_number, type_of

T = TypeVar("T")
C = TypeVar("C", bound="Config")


class Role(enum.Enum):
    """Role of a field; see the module's docstring."""

    STATIC = "static"
    TRACED = "traced"
    CONTENT = "content"
    LOCATION = "location"


NOT_STATIC = (Role.TRACED, Role.CONTENT, Role.LOCATION)
"""Roles of the fields that a compiled program does not depend on."""

Traced = Annotated[T, Role.TRACED]
Content = Annotated[T, Role.CONTENT]
Location = Annotated[T, Role.LOCATION]

AUTO = "auto"
"""Value of a field in place of a number: the program finds the number itself. This choice is static."""

OF_A_RUN = "of one run"
"""Marker in addition to a role: the field describes one run of a trial, and is in no record of the trial."""


class Config(BaseModel):
    """Base of every configuration: immutable, hashable, no unknown keys, no NaN or infinity.

    >>> from sweepflow import Config, Content, Traced
    >>> class Walk(Config):
    ...     steps: int = 100  # static: another value is another compiled program
    ...     drift: Traced[float] = 0.1  # a number that is fed to the program
    ...     seed: Content[int] = 0  # it decides the random key
    >>> Walk(drift=0.5)
    Walk(steps=100, drift=0.5, seed=0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


@cache
def roles(config_type: type[Config]) -> dict[str, Role]:
    """The role of every field of a configuration type."""
    return {
        name: next((m for m in field.metadata if isinstance(m, Role)), Role.STATIC)
        for name, field in config_type.model_fields.items()
    }


def traced_part(config: Config, prefix: str = "") -> dict[str, Number]:
    """The traced numbers of a configuration, by dotted key; a field that is None or `auto` is omitted.

    The value decides whether a number is a truth value, a whole number or a fraction. But a whole number in a
    field that takes fractions becomes a fraction.

    Raises:
        ConfigError: for a value that is not a number.
    """
    numbers: dict[str, Number] = {}
    for name, role in roles(type(config)).items():
        value, key = getattr(config, name), f"{prefix}{name}"
        if role is Role.TRACED and value is not None and value != AUTO:
            number = plain_number(value)
            if number is None:
                raise ConfigError(
                    "a traced field holds one number, which is fed to the program",
                    got=f"{key}={value!r} ({type(value).__name__})",
                    allowed="true or false, a whole number, a fraction, or null",
                    do="give each number a traced field, or leave Traced away: then it shapes the program",
                )
            if type(number) is int and takes_fractions(type(config).model_fields[name].annotation):
                number = float(fitting(key, number, FRACTION))
            numbers[key] = number
        elif isinstance(value, Config):
            numbers |= traced_part(value, f"{key}.")
    return numbers


def check_numbers(config: Config, dtype: np.dtype, do: str, prefix: str = "") -> None:
    """Check that a program can represent every traced number of a configuration.

    Args:
        config: Any configuration.
        dtype: The type with which the program computes fractions.
        do: Advice for a fraction that does not fit `dtype`.

    Raises:
        ConfigError: for a number that does not fit its type, and for a fraction that `dtype` rounds to a
            bound that the field excludes: a decay must be below 1, and must not become 1 in the program.
    """
    for key, number in traced_part(config, prefix).items():
        if not isinstance(number, float):
            fitting(key, number, type_of(number))
            continue
        nearest = fitting(key, number, dtype, do)
        for bound in bounds_of(_field(config, key.removeprefix(prefix))):
            edge = getattr(bound, "gt", getattr(bound, "lt", None))
            if edge is not None and nearest == held(edge, dtype):
                raise ConfigError(
                    f"a number is so near a bound that a program in {dtype} computes with the bound",
                    got=f"{key}={number}",
                    allowed=f"{'greater' if hasattr(bound, 'gt') else 'less'} than {edge}",
                    do=do,
                )


def _field(config: Config, key: str) -> FieldInfo:
    """The field of a configuration's type, by dotted key."""
    *sections, name = key.split(".")
    for section in sections:
        config = getattr(config, section)
    return type(config).model_fields[name]


def static_part(config: C) -> C:
    """A copy of the configuration with only its static fields, nested ones included, and the traced fields
    that are `auto`.

    Reading any other field of the copy raises AttributeError. So a workload that would compile a traced
    number into its program fails in its first test instead of compiling once for each value.
    """
    return without(config, *NOT_STATIC)


def without(config: C, *leave_out: Role) -> C:
    """A copy of the configuration without the fields of some roles, nested ones included. These fields cannot
    be read."""
    kept = cast(C, type(config).model_construct())
    for name, role in roles(type(config)).items():
        is_auto = role is Role.TRACED and config.__dict__.get(name) == AUTO
        if role in leave_out and not is_auto:
            kept.__dict__.pop(name, None)
        else:
            value = getattr(config, name)
            kept.__dict__[name] = without(value, *leave_out) if isinstance(value, Config) else value
    return kept


def with_numbers(config: C, numbers: Mapping[str, Any], prefix: str = "") -> C:
    """The static part of a configuration, with the arrays of a running program as its traced fields.

    Args:
        config: Any configuration of the group.
        numbers: The arrays by dotted key, with the keys of `traced_part`.
    """
    filled = static_part(config)
    for name, role in roles(type(config)).items():
        value = getattr(config, name)
        if role is Role.TRACED:
            filled.__dict__[name] = value if value in (None, AUTO) else numbers[f"{prefix}{name}"]
        elif role is Role.STATIC and isinstance(value, Config):
            filled.__dict__[name] = with_numbers(value, numbers, f"{prefix}{name}.")
    return filled


def dump(config: Config, *leave_out: Role) -> dict[str, Any]:
    """A dict for JSON of all fields except those of the roles in `leave_out`, nested fields included."""
    out: dict[str, Any] = {}
    for name, role in roles(type(config)).items():
        if role not in leave_out:
            value = getattr(config, name)
            out[name] = dump(value, *leave_out) if isinstance(value, Config) else value
    return out


def recorded(config: Config) -> dict[str, Any]:
    """A configuration as records contain it: plain JSON, without the fields that are `OF_A_RUN`."""
    fields = type(config).model_fields.items()
    return config.model_dump(mode="json", exclude={n for n, field in fields if OF_A_RUN in field.metadata})
