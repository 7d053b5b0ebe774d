"""The values that a field takes, in words: made from its type and bounds, so that no list goes stale."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as bounds
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sweepflow.schema.bounds import options_of, unpacked
from sweepflow.schema.name import NAME, NAME_IN_WORDS

PATTERNS = {NAME: NAME_IN_WORDS}
"""Regular expressions of the schema and their meaning in words; any other expression is shown as it is."""
TAGS = ("kind", "distribution")
"""Fields that choose a section's model among several."""
LIST_EXAMPLES = {int: "[32,32]", float: "[1.0,0.1]", str: "[a,b]"}


def allowed_values(field: FieldInfo) -> str:
    """The field's own description, or words: `a whole number greater than 0`, `one of relu, tanh`."""
    return field.description or _words(field.annotation, field.metadata)


def choices(field: FieldInfo) -> list[str]:
    """The names that a field takes; empty for a field that does not take names."""
    found: list[str] = []
    for option in options_of(field.annotation):
        if get_origin(option) is Literal:
            found += [str(value) for value in get_args(option)]
    return found


def nullable(field: FieldInfo) -> bool:
    """Return whether the field may be left empty with `null`."""
    return type(None) in options_of(field.annotation)


def example(field: FieldInfo, given: object = None) -> str | None:
    """A value that the field takes, as it is typed.

    Args:
        field: The field.
        given: The value that the field refused.

    Returns:
        A list of `given` alone where the field takes that. Otherwise the field's default, then an example of
        a list where the field takes a list, then None.
    """
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    if isinstance(given, (int, float, str)) and not isinstance(given, bool) and given != "":
        try:
            TypeAdapter(kind).validate_python([given])
        except ValidationError:
            pass
        else:
            return f"[{given}]"
    default = field.get_default(call_default_factory=False)
    if not isinstance(default, BaseModel) and default not in (None, PydanticUndefined, (), []):
        return typed(default)
    for option in options_of(field.annotation):
        if get_origin(option) is tuple:
            return _list_example(option)
    return None


def placeholder(field: FieldInfo) -> str:
    """The placeholder for a value that only the user can know: `DIRECTORY`, or three dots."""
    return str(field.examples[0]) if field.examples else "..."


def typed(value: object) -> str:
    """A value as it is written in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(typed(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{typed(item)}" for key, item in value.items()) + "}"
    return str(value)


def sections(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field may hold: one, or one for each `kind`."""
    return [o for o in options_of(annotation) if isinstance(o, type) and issubclass(o, BaseModel)]


def tag_of(section: type[BaseModel]) -> str:
    """The name of the field that chooses a model among others; `kind` if the model has no such field."""
    return next((name for name in TAGS if name in section.model_fields), TAGS[0])


def kind_of(section: type[BaseModel]) -> str | None:
    """The value of the field that chooses the model, or None where the model has no such field."""
    field = section.model_fields.get(tag_of(section))
    return None if field is None else str(field.default)


def _words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    annotation, metadata = unpacked(annotation, metadata)
    kinds = [kind for section in sections(annotation) if (kind := kind_of(section))]
    if kinds:
        return f"a section of {tag_of(sections(annotation)[0])} {', '.join(kinds)}"
    if get_origin(annotation) in (Union, types.UnionType):
        options = sorted(get_args(annotation), key=lambda option: option is type(None))
        return ", or ".join(_words(option) for option in options)
    if annotation is type(None):
        return "null"
    if get_origin(annotation) is Literal:
        values = [typed(value) for value in get_args(annotation)]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if get_origin(annotation) in (tuple, list):
        item = _words(get_args(annotation)[0])
        if " number" not in item and item != "text":
            return f"a list, each entry {item}{_length(metadata)}"
        several = item.removeprefix("a ").replace("number", "numbers", 1)
        return f"a list such as {_list_example(annotation)} of {several}{_length(metadata)}"
    if annotation is bool:
        return "true or false"
    if annotation in (int, float):
        return ("a whole number" if annotation is int else "a number") + _limits(metadata)
    if annotation is str:
        return (
            f"text{_pattern(metadata)}{', not empty' * any(isinstance(m, bounds.MinLen) for m in metadata)}"
        )
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with the keys {', '.join(annotation.model_fields)}"
    if get_origin(annotation) is dict or annotation is dict:
        return "a mapping such as {key:value}"
    if annotation is Any:
        return "any value"
    return f"a value of type {getattr(annotation, '__name__', annotation)}"


def _limits(metadata: Iterable[Any]) -> str:
    parts = []
    for item in metadata:
        match item:
            case bounds.Gt(gt=low):
                parts.append(f"greater than {_plain(low)}")
            case bounds.Ge(ge=low):
                parts.append(f"of at least {_plain(low)}")
            case bounds.Lt(lt=high):
                parts.append(f"less than {_plain(high)}")
            case bounds.Le(le=high):
                parts.append(f"of at most {_plain(high)}")
    return f" {' and '.join(parts)}" if parts else ""


def _length(metadata: Iterable[Any]) -> str:
    parts = []
    for item in metadata:
        match item:
            case bounds.MinLen(min_length=low):
                parts.append(f"at least {low}")
            case bounds.MaxLen(max_length=high):
                parts.append(f"at most {high}")
    return f", {' and '.join(parts)} of them" if parts else ""


def _pattern(metadata: Iterable[Any]) -> str:
    found = [pattern for item in metadata if (pattern := getattr(item, "pattern", None))]
    return (
        f" of {PATTERNS[found[0]]}"
        if found and found[0] in PATTERNS
        else "".join(f" that matches {pattern}" for pattern in found)
    )


def _list_example(annotation: Any) -> str:
    item, _ = unpacked(get_args(annotation)[0])
    return LIST_EXAMPLES.get(item, "[1,2]")


def _plain(bound: Any) -> str:
    """A bound as text: large integers such as 2**32 - 1 in full, 1.0 as 1."""
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
