"""The identity of a job: the callable's name and source, and the configuration that it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from sweepflow.fingerprint import fingerprint
from sweepflow.jobs.values import TAG


def name_of(function: Callable[..., Any]) -> str:
    """Return module and qualified name of a callable, of the callable it wraps as `func`, or of its type."""
    inner = _wrapped(function) or function
    return qualified_name(inner if hasattr(inner, "__qualname__") else type(inner))


def qualified_name(of: Any) -> str:
    """Return module and qualified name of a callable or a class; for a module, its name after a dot."""
    return f"{getattr(of, '__module__', '')}.{getattr(of, '__qualname__', getattr(of, '__name__', ''))}"


def _wrapped(function: Any) -> Any:
    """Return the callable that a partial, or a similar wrapper such as hydra-zen's `zen`, calls."""
    inner = None if hasattr(function, "__qualname__") else getattr(function, "func", None)
    return inner if callable(inner) else None


def job_id(name: str, source: str, version: int | None, config: Any) -> str:
    """Return a job's fingerprint.

    Args:
        name, source: Name and source of the callable, as from `name_of` and `source_of`.
        version: The user's own version, in place of the source.
        config: Configuration that the callable is given.

    Raises:
        ConfigError: for a value that canonical JSON cannot hold.
    """
    payload = {"config": plain(config), "source": source if version is None else ""}
    return fingerprint("job", name, version or 0, payload)


def plain(config: Any) -> Any:
    """Return a configuration as plain JSON. Interpolations are resolved if possible, and missing values stay
    `???`. An enumeration becomes its name, a path its text; bytes, NaN and infinities become tagged text."""
    if isinstance(config, BaseModel):
        return _json(config.model_dump(mode="json"))
    if not isinstance(config, DictConfig):
        return _json(config)
    try:
        return _json(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException:  # a variable of the environment, say, that the callable does not read
        return _json(OmegaConf.to_container(config, resolve=False))


def _json(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _json(item) for key, item in value.items()}
        case list() | tuple():
            return [_json(item) for item in value]
        case set() | frozenset():
            return sorted((_json(item) for item in value), key=repr)
        case Enum():
            return value.name
        case PurePath():
            return str(value)
        case bytes():
            return {TAG: value.hex()}
        case float() if not math.isfinite(value):
            return {TAG: str(value)}
    return value
