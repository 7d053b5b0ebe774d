"""Return values as JSON and arrays, and back to the same types."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sweepflow.errors import SweepflowError

TAG = "__sweepflow__"
"""Key of a JSON object that stands for a value which JSON cannot express."""

NUMBERS = "biufc"
"""Kinds of NumPy dtypes that arrays in the store may have."""


class UnkeepableError(SweepflowError):
    """A value that JSON and arrays cannot hold."""


class Kept(NamedTuple):
    """A value as the store keeps it.

    Attributes:
        content: Plain JSON.
        arrays: Arrays that the content refers to, by name.
    """

    content: Any
    arrays: dict[str, np.ndarray]


def keep(value: Any) -> Kept:
    """Split a value into plain JSON and arrays.

    Raises:
        UnkeepableError: for anything except numbers, text, bytes, lists, tuples, mappings with text as keys,
            and arrays; the error names the place in the value.
    """
    arrays: dict[str, np.ndarray] = {}
    return Kept(_plain(value, "value", arrays), arrays)


def restore(content: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the value that `keep` was given; arrays of any library come back as NumPy arrays."""
    if isinstance(content, list):
        return [restore(item, arrays) for item in content]
    if not isinstance(content, Mapping):
        return content
    match content.get(TAG):
        case None:
            return {key: restore(item, arrays) for key, item in content.items()}
        case "float":
            return float(content["of"])
        case "bytes":
            return base64.b64decode(content["of"])
        case "complex":
            return complex(*map(float, content["of"]))
        case "tuple":
            return tuple(restore(item, arrays) for item in content["of"])
        case "mapping":
            return {key: restore(item, arrays) for key, item in content["of"]}
        case "scalar":
            return arrays[content["of"]][()]
        case _:
            return arrays[content["of"]]


def _plain(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    match value:
        case np.generic() if value.dtype.kind in NUMBERS:
            arrays[where] = np.asarray(value)
            return {TAG: "scalar", "of": where}
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {TAG: "float", "of": str(value)}
        case complex():
            return {TAG: "complex", "of": [str(value.real), str(value.imag)]}  # NaN, too
        case bytes():
            return {TAG: "bytes", "of": base64.b64encode(value).decode()}
        case list() if type(value) is list:
            return [_plain(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]
        case tuple() if type(value) is tuple:
            items = [_plain(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]
            return {TAG: "tuple", "of": items}
        case dict() if type(value) is dict and all(isinstance(key, str) for key in value):
            plain = {key: _plain(item, f"{where}.{key}", arrays) for key, item in value.items()}
            return plain if TAG not in plain else {TAG: "mapping", "of": list(plain.items())}
    if hasattr(value, "__array__") and (array := np.asarray(value)).dtype.kind in NUMBERS:
        arrays[where] = array
        return {TAG: "array", "of": where}
    raise UnkeepableError(
        "the store cannot keep this return value",
        got=f"{where}: {type(value).__module__}.{type(value).__qualname__}",
        allowed="numbers, text, bytes, lists, tuples, dicts with text as keys, arrays of numbers",
        do="return these, or do without cache=True: the value itself comes back in this process all the same",
    )
