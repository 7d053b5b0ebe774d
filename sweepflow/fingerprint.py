"""Identity of a trial: SHA-256 of the canonical JSON of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from sweepflow.errors import ConfigError
from sweepflow.schema.fields import Config, Role, dump

HEX_DIGITS = 16


def canonical_json(value: object) -> str:
    """Return JSON with one spelling for each value: sorted keys, no whitespace, plain Python numbers, no NaN.

    Sets become sorted lists, tuples become lists, and NumPy and JAX scalars and arrays become Python numbers
    and lists.

    Raises:
        ConfigError: for NaN, infinity, or a value that JSON cannot hold.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _plain(value: object) -> Any:
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError("a fingerprint cannot hold NaN or infinity", got=value)
        return value + 0.0  # -0.0 is 0.0
    if isinstance(value, Config):
        return _plain(dump(value, Role.LOCATION))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Set):
        return sorted((_plain(v) for v in value), key=canonical_json)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(v) for v in value]
    if hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist())
    raise ConfigError(
        "a fingerprint cannot hold this value",
        got=f"{value!r} ({type(value).__name__})",
        allowed="numbers, strings, lists, sets, mappings, configurations",
    )


def frozen(value: Any) -> Hashable:
    """Return a hashable form of a plain value, to compare and count values.

    1, 1.0, true and '1' are four different values, also in lists.

    >>> len({frozen(value) for value in (1, 1.0, True, "1", [1], [True])})
    6
    """
    if isinstance(value, (list, tuple)):
        return (list, *map(frozen, value))
    if isinstance(value, Mapping):
        return (dict, frozenset((key, frozen(inner)) for key, inner in value.items()))
    return (type(value), value)


def fingerprint(prefix: str, workload: str, version: int, payload: object) -> str:
    """`prefix` + `_` + 16 hex digits identifying one trial.

    Args:
        prefix: `tgt` for targets, `est` for estimates, `trl` for other trials.
        workload: The workload's name.
        version: The workload's `VERSION`; raised whenever its results change.
        payload: Everything else that decides the result; location fields are left out.
    """
    text = canonical_json({"workload": workload, "version": version, "config": payload})
    return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:HEX_DIGITS]}"


def key_data(trial_id: str, seed: int) -> np.ndarray:
    """Return the raw threefry key of a trial, made from its own seed and fingerprint and nothing else.

    Returns:
        uint32, shape (2,).
    """
    digest = hashlib.sha256(f"{trial_id}/{seed}".encode()).digest()
    return np.frombuffer(digest[:8], dtype=">u4").astype(np.uint32)
