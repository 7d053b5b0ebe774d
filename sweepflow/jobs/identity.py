"""What identifies a job: the callable's name and source, and the configuration it is given."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from sweepflow.fingerprint import fingerprint


def name_of(function: Callable[..., Any]) -> str:
    """Module and qualified name of a callable, or of its type where it has none."""
    inner = function.func if isinstance(function, partial) else function
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{named.__module__}.{named.__qualname__}"


def source_of(function: Callable[..., Any]) -> str:
    """Digest of a callable's own source text, or of its byte code where that cannot be read.

    Empty for one that is not written in Python: it changes with its library only.
    """
    if isinstance(function, partial):
        given = repr((function.args, sorted(function.keywords.items())))
        return _digest(source_of(function.func) + given)
    named = function if hasattr(function, "__qualname__") else type(function)
    code = getattr(named, "__code__", None)
    try:
        text = textwrap.dedent(inspect.getsource(named))
    except (OSError, TypeError):
        return "" if code is None else _digest(_byte_code(code))
    # Of a lambda that is the whole line, on which others may stand.
    return _digest(text + (_byte_code(code) if code and code.co_name == "<lambda>" else ""))


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
    return hashlib.sha256(text.encode()).hexdigest()[:16]
