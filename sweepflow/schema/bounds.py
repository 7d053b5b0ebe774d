"""Metadata of a type: bounds, as pydantic and `annotated_types` write them."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo


def unpacked(annotation: Any, metadata: Iterable[Any] = ()) -> tuple[Any, list[Any]]:
    """A type without `Annotated`, and all its metadata; pydantic's `Field` is split into its bounds."""
    said = list(metadata)
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        said += more
    flat: list[Any] = []
    for item in said:
        flat += item.metadata if isinstance(item, FieldInfo) else [item]
    # Types such as `Interval` and pydantic's own constraints unfold into single bounds.
    return annotation, [
        part
        for item in flat
        for part in (item if isinstance(item, annotated_types.GroupedMetadata) else [item])
    ]


def options_of(annotation: Any) -> list[Any]:
    """The types of a union, including those of nested unions; the type itself if it is no union."""
    annotation, _ = unpacked(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for option in get_args(annotation) for inner in options_of(option)]
    return [annotation]


def bounds_of(field: FieldInfo) -> list[Any]:
    """All metadata of a field's type and, for a union, of its members."""
    annotation, found = unpacked(field.annotation, field.metadata)
    for member in get_args(annotation):
        found += unpacked(member)[1]
    return found


def takes_fractions(annotation: Any) -> bool:
    """Return whether a type is `float`, or a union or similar type that contains it: 1 is then 1.0."""
    return annotation is float or any(map(takes_fractions, get_args(annotation)))
