"""A pydantic error in the words of the override that caused it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sweepflow.compose.axes import Axis
from sweepflow.errors import ConfigError, did_you_mean


def explain(error: ValidationError, root: type[BaseModel], axes: Sequence[Axis]) -> ConfigError:
    """The first complaint of a validation error as one readable error."""
    first, *others = error.errors()
    key, owner = _locate(first["loc"], root)
    got = _given(key, first["input"], axes)
    more = f" (and {len(others)} more like it)" if others else ""
    names = list(owner.model_fields)
    match first["type"]:
        case "extra_forbidden":
            name = key.rsplit(".", 1)[-1]
            prefix = key[: -len(name)]
            kind = owner.model_fields["kind"].default if "kind" in names else None
            return ConfigError(
                f"there is no key {key!r}{f' where {prefix}kind={kind}' if kind else ''}{more}",
                got=got,
                allowed=prefix + f", {prefix}".join(names),
                do=did_you_mean(name, names),
            )
        case "missing":
            return ConfigError(f"{key} has to be given{more}", do=f"add {key}=...")
        case "union_tag_invalid" | "union_tag_not_found":
            context: dict[str, Any] = first.get("ctx", {})
            return ConfigError(
                f"{key}.kind is not known{more}",
                got=context.get("tag", got),
                allowed=context.get("expected_tags"),
            )
    message = first["msg"].removeprefix("Value error, ")
    return ConfigError(
        f"{key}: {message[0].lower()}{message[1:]}{more}", got=got, allowed=_allowed(first, owner, key)
    )


def _given(key: str, value: object, axes: Sequence[Axis]) -> str:
    """The refused value as it was typed, or as it was found in a file."""
    exact = next((axis for axis in axes if axis.key == key and not axis.is_group), None)
    if exact is not None:
        return f"{key}={value}, one of {exact.text}" if exact.sweeps else exact.text
    within = [axis.text for axis in axes if axis.key == key or axis.key.startswith(f"{key}.")]
    return " ".join(within) or f"{key}={value!r}"


def _locate(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[str, type[BaseModel]]:
    """The dotted key of an error, without pydantic's union tags, and the model that the key is in."""
    owner, parts = root, []
    rest = list(location)
    while rest:
        part = rest.pop(0)
        parts.append(str(part))
        field = owner.model_fields.get(str(part))
        if field is None:
            break
        models = [
            m
            for m in (field.annotation, *get_args(field.annotation))
            if isinstance(m, type) and issubclass(m, BaseModel)
        ]
        if rest and len(models) > 1:
            tag = rest.pop(0)
            models = [m for m in models if m.model_fields["kind"].default == tag]
        if not models:
            break  # a leaf; what follows are positions within its value
        owner = models[0]
    return ".".join(parts), owner


def _allowed(error: Any, owner: type[BaseModel], key: str) -> str | None:
    expected = error.get("ctx", {}).get("expected")
    if expected:
        return str(expected)
    field = owner.model_fields.get(key.rsplit(".", 1)[-1])
    return None if field is None or field.description is None else field.description
