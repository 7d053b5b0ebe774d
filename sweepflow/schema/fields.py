"""What a configuration field decides: the compiled program, a number fed to it, or neither.

Every field of a `Config` has exactly one role, declared once in its annotation:

- **static** (no marker): it changes the compiled program;
- **traced** (`Traced[float]`): a number fed to the program as a traced scalar: a truth value as a bool, a
  whole number as int32, a fraction as the program computes;
- **content** (`Content[int]`): it decides what the input arrays or the random key hold, or where a run ends,
  and neither shapes nor the program (a data seed, a noise scale);
- **location** (`Location[str]`): where or how the work runs; never part of a fingerprint.
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
    """What a field decides; see the module's docstring."""

    STATIC = "static"
    TRACED = "traced"
    CONTENT = "content"
    LOCATION = "location"


NOT_STATIC = (Role.TRACED, Role.CONTENT, Role.LOCATION)
"""What a compiled program does not depend on."""

Traced = Annotated[T, Role.TRACED]
Content = Annotated[T, Role.CONTENT]
Location = Annotated[T, Role.LOCATION]

AUTO = "auto"
"""In place of a number: the program finds its own. That it does is static."""

OF_A_RUN = "of one run"
"""Beside a role: the field says something of one run of a trial, and is in no record of it."""


class Config(BaseModel):
    """Base of every configuration: immutable, hashable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


@cache
def roles(config_type: type[Config]) -> dict[str, Role]:
    """The role of every field of a configuration type."""
    return {
        name: next((m for m in field.metadata if isinstance(m, Role)), Role.STATIC)
        for name, field in config_type.model_fields.items()
    }


def traced_part(config: Config, prefix: str = "") -> dict[str, Number]:
    """The traced numbers of a configuration, by dotted key; a field that is None or `auto` has none.

    Whether a number is a truth value, a whole number or a fraction is its value's affair, but that a field
    which takes fractions holds nothing else.

    Raises:
        ConfigError: for a value that is no number.
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
    """Make sure that a program sees every traced number of a configuration.

    Args:
        config: Any.
        dtype: What the program computes with in place of a fraction.
        do: What to do about a fraction that does not fit it.

    Raises:
        ConfigError: for one that does not fit, and for a fraction whose nearest lies on a bound that its
            field excludes: a decay below 1 is none if it is computed with as 1.
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
    """What a configuration's type says of a field, by dotted key."""
    *sections, name = key.split(".")
    for section in sections:
        config = getattr(config, section)
    return type(config).model_fields[name]


def static_part(config: C) -> C:
    """The same configuration with only its static fields, nested ones included, and traced ones that are
    `auto`.

    Reading any other field of the copy raises AttributeError, so a workload that would bake a traced
    number into its program fails in its first test instead of compiling once a value.
    """
    return without(config, *NOT_STATIC)


def without(config: C, *leave_out: Role) -> C:
    """The same configuration less the fields of some roles, nested ones included; they cannot be read."""
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
    """The static part, with the arrays of a running program as its traced fields.

    Args:
        config: Any configuration of the group.
        numbers: By dotted key, as `traced_part` gives them.
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
    """A JSON-able dict of every field whose role is not left out, nested ones included."""
    out: dict[str, Any] = {}
    for name, role in roles(type(config)).items():
        if role not in leave_out:
            value = getattr(config, name)
            out[name] = dump(value, *leave_out) if isinstance(value, Config) else value
    return out


def recorded(config: Config) -> dict[str, Any]:
    """A configuration as records have it: plain JSON, without what is of one run only."""
    fields = type(config).model_fields.items()
    return config.model_dump(mode="json", exclude={n for n, field in fields if OF_A_RUN in field.metadata})
