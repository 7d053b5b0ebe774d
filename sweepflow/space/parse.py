"""Parser of distributions from plain data (YAML, Python), with errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import Field, ValidationError

from sweepflow.errors import ConfigError, did_you_mean
from sweepflow.space.choices import Categorical, Constant, Joint
from sweepflow.space.continuous import LogNormal, LogUniform, Normal, TruncatedNormal, Uniform
from sweepflow.space.discrete import IntUniform, LogIntUniform, Quantized
from sweepflow.space.distribution import Distribution

D = TypeVar("D", bound=Distribution)

_Any = (
    Uniform
    | LogUniform
    | Normal
    | LogNormal
    | TruncatedNormal
    | IntUniform
    | LogIntUniform
    | Quantized
    | Categorical
    | Constant
    | Joint
)
AnyDistribution = Annotated[_Any, Field(discriminator="distribution")]

KINDS: dict[str, type[Distribution]] = {
    kind.model_fields["distribution"].default: kind for kind in get_args(_Any)
}
"""Every distribution by its name in YAML, which is its name in Python too."""


def parse_distribution(key: str, raw: object) -> Distribution:
    """Parse a mapping with a field `distribution`; a value that already is a distribution is returned
    unchanged.

    Args:
        key: Key of the distribution; named in errors.
        raw: A mapping such as `{"distribution": "log_uniform", "low": 1e-4, "high": 0.1}`.

    Raises:
        ConfigError: for an unknown name or field, a missing field, or numbers that make no distribution.
    """
    if isinstance(raw, Distribution):
        return raw
    if not isinstance(raw, Mapping) or "distribution" not in raw:
        raise ConfigError(
            f"{key}: this is no distribution",
            got=repr(raw),
            allowed=f"a mapping with a field `distribution`, which is one of {', '.join(KINDS)}",
            do=_suggestion(key, raw),
        )
    name = raw["distribution"]
    if name not in KINDS:
        raise ConfigError(
            f"{key}: there is no distribution {name!r}",
            got=dict(raw),
            allowed=", ".join(KINDS),
            do=did_you_mean(str(name), KINDS),
        )
    fields = {str(field): value for field, value in raw.items() if field != "distribution"}
    if name == "quantized" and "of" in fields:
        fields["of"] = parse_distribution(f"{key}: quantized: of", fields["of"])
    try:
        return build(KINDS[name], **fields)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error.what}", got=error.got, allowed=error.allowed, do=error.do) from None


def build(kind: type[D], **fields: Any) -> D:
    """Build a distribution of a kind.

    Raises:
        ConfigError: for an unknown or missing field, or a value of the wrong type or size.
    """
    name = kind.model_fields["distribution"].default
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = [field for field in kind.model_fields if field != "distribution"]
        match first["type"]:
            case "missing":
                what, got, do = f"{name}: {field} has to be given", str(fields), f"add {field}"
            case "extra_forbidden":
                what, got, do = f"{name} has no field {field!r}", str(fields), did_you_mean(field, known)
            case _:
                message = first["msg"].removeprefix("Value error, ")
                what = f"{name}: {field}: {message[0].lower()}{message[1:]}"
                got, do = f"{field}={first['input']!r}", f"mend {field}"
        raise ConfigError(what, got=got, allowed=", ".join(known), do=do) from None


def keys_of(name: str, distribution: Distribution) -> tuple[str, ...]:
    """The dotted keys that a parameter draws: its own name, or the keys of a joint distribution."""
    return distribution.keys if isinstance(distribution, Joint) else (name,)


def _suggestion(key: str, raw: object) -> str:
    if isinstance(raw, list | tuple):
        return f"write {key}: {{distribution: categorical, values: {list(raw)}}}"
    if isinstance(raw, Mapping):
        return "name its distribution"
    return f"write {key}: {{distribution: constant, value: {raw}}}"
