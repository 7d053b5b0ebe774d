"""What identifies a job: the callable's name and source, and the configuration it is given."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, MethodType
from typing import Any

import cloudpickle
import numpy as np
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from sweepflow.errors import ConfigError
from sweepflow.fingerprint import canonical_json, fingerprint


def name_of(function: Callable[..., Any]) -> str:
    """Module and qualified name of a callable, of what it wraps as `func`, or of its type."""
    inner = _wrapped(function) or function
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{named.__module__}.{named.__qualname__}"


def source_of(function: Callable[..., Any]) -> str:
    """Digest of a callable's own source text, or of its byte code where that cannot be read, and of the
    values that it carries: its closure's, its defaults, plain global variables that it uses, attributes.

    Empty for one that is not written in Python: it changes with its library only.
    """
    return _source(function, ())


def _wrapped(function: Any) -> Any:
    """What a partial, or a wrapper that is like one, calls; as hydra-zen's `zen` does."""
    inner = None if hasattr(function, "__qualname__") else getattr(function, "func", None)
    return inner if callable(inner) else None


def _source(function: Any, above: tuple[Any, ...]) -> str:
    if isinstance(function, partial):
        carried = {"args": function.args, "keywords": function.keywords, "func": function.func}
        return _digest(_state(carried, (*above, function)))
    if isinstance(function, MethodType):
        return _digest(_source(function.__func__, above) + _state(_vars(function.__self__), above))
    named = function if hasattr(function, "__qualname__") else type(function)
    code = getattr(named, "__code__", None)
    try:
        text = textwrap.dedent(inspect.getsource(named))
    except (OSError, TypeError):
        text = "" if code is None else _byte_code(code)
    # Of a lambda that is the whole line, on which others may stand.
    text += _byte_code(code) if code and code.co_name == "<lambda>" else ""
    if named is not function:
        text += _state(_vars(function), (*above, function))
    elif code is not None:
        text += _state(_carried(function), (*above, function))
    return _digest(text) if text else ""


def _carried(function: Any) -> dict[str, Any]:
    """Values that a function has beside its text; empty ones are left out, so that most have none."""
    found = inspect.getclosurevars(function)
    plain_globals = {n: value for n, value in found.globals.items() if _is_array(value) or _is_plain(value)}
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
    parts = {"closure": dict(found.nonlocals), "globals": plain_globals, "defaults": defaults}
    return {name: part for name, part in parts.items() if part}


def _vars(value: Any) -> dict[str, Any]:
    """Attributes of an object, as far as it keeps them in a dictionary."""
    return dict(getattr(value, "__dict__", {}))


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and np.ndim(value) > 0


def _is_plain(value: Any) -> bool:
    try:
        canonical_json(value)
    except (ConfigError, TypeError):
        return False
    return True


def _state(value: Any, above: tuple[Any, ...]) -> str:
    """A value in words that are the same for equal values; above it are those that hold it."""
    if any(value is one for one in above):
        return ""
    if isinstance(value, Mapping):
        return repr([(str(key), _state(value[key], above)) for key in sorted(value, key=str)])
    if isinstance(value, (list, tuple)):
        return repr([_state(item, above) for item in value])
    if not _is_array(value) and _is_plain(value):  # arrays may be large
        return canonical_json(value)
    if callable(value):
        return name_of(value) + _source(value, above)
    try:
        return _digest_bytes(cloudpickle.dumps(np.asarray(value) if _is_array(value) else value))
    except Exception:  # whatever pickling a user's type may raise
        return f"{type(value).__module__}.{type(value).__qualname__}"


def _byte_code(code: CodeType) -> str:
    inner = [_byte_code(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return f"{code.co_code!r}{code.co_names!r}{inner!r}"


def job_id(name: str, source: str, version: int | None, config: Any) -> str:
    """A job's fingerprint.

    Args:
        name, source: Of the callable, as from `name_of` and `source_of`.
        version: The user's own, in place of the source.
        config: What the callable is given.

    Raises:
        ConfigError: for a value that canonical JSON cannot hold.
    """
    payload = {"config": plain(config), "source": source if version is None else ""}
    return fingerprint("job", name, version or 0, payload)


def plain(config: Any) -> Any:
    """A configuration as plain values; interpolations are resolved, what is missing stays `???`."""
    if isinstance(config, BaseModel):
        return config.model_dump(mode="json")
    return OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config


def _digest(text: str) -> str:
    return _digest_bytes(text.encode())


def _digest_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
