"""Reader and writer of Hydra's override grammar: a text that the writer makes is read back as the same value.

O. Yadan, "Hydra: A framework for elegantly configuring complex applications", 2019;
https://hydra.cc/docs/1.3/advanced/override_grammar/extended/
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import PurePath
from typing import Any

import numpy as np
from hydra._internal.grammar.functions import FunctionCall, Functions
from hydra._internal.grammar.grammar_functions import glob
from hydra._internal.grammar.utils import escape_special_characters
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    Override,
    QuotedString,
    RangeSweep,
    Sweep,
    Transformer,
    ValueType,
)
from hydra.errors import HydraException

from sweepflow.errors import ConfigError

WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.-]*")
"""Text that needs no quotes, unless it is one of `KEYWORDS`."""
KEYWORDS = ("null", "true", "false", "inf", "nan")
CASTS = ("int", "float", "str", "bool")
OF_VALUES = ("range", "interval", "glob")
"""Functions that make a sweep, and that take plain values only."""
TAKES_SWEEP = ("sweep", "value")
"""Keyword arguments by which the other functions take a sweep."""


def read(text: str, source: str = "") -> Override:
    """Parse one override.

    Args:
        text: An override in Hydra's grammar.
        source: Source of the text, for the error: `, from the experiment NAME`.

    Raises:
        ConfigError: for text that is no override.
    """
    try:
        found = _parser().parse_override(text)
        if not found.is_delete() and _holds_sweep(_parts(found._value)):
            raise _nested(text, source)
        return found
    except HydraException as error:
        if isinstance(error.__cause__, _NestedSweepError):
            raise _nested(text, source) from error
        raise ConfigError(
            "this is not an override in Hydra's grammar",
            got=f"{text}{source}",
            allowed="key=value, key=value,value, key=range(start,stop), group=option, +experiment=name",
            do=f"quote what has special characters; Hydra says: {str(error).splitlines()[0]}",
        ) from error


class _NestedSweepError(TypeError):
    """A function of the grammar is given a sweep among other arguments."""


def _nested(text: str, source: str) -> ConfigError:
    key = text.partition("=")[0]
    return ConfigError(
        f"{key.lstrip('+')}: there is a sweep within the list of another one, or within a value",
        got=f"{text}{source}",
        allowed=f"one list of values: {key}=1,2,3, with a function round the whole of it: {key}=float(1,2), "
        f"{key}=sort(3,1,2), {key}=choice(a,b); or one {key}=range(1,4)",
        do="write all values into one list; for values of several types cast each: float(1),float(2),str(3)",
    )


def _parts(value: Any) -> list[Any]:
    """The values inside a parsed value; for a sweep its values, without the sweep itself."""
    match value:
        case ChoiceSweep():
            return list(value.list)
        case list():
            return value
        case dict():
            return list(value.values())
    return []


def _holds_sweep(values: Iterable[Any]) -> bool:
    return any(isinstance(value, Sweep | Glob) or _holds_sweep(_parts(value)) for value in values)


def key_of(override: Override) -> str:
    """The key or group, with its package where it has one: `db@source`."""
    return override.get_key_element().lstrip("+~")


def swept_values(override: Override) -> list[Any]:
    """The values of a sweep in order; a shuffled sweep has another order at each call. Quotes are kept.

    Raises:
        ConfigError: for a range with an infinite end or step, or with a step of zero.
    """
    ends: Any = override.value()
    try:
        if override.is_range_sweep() and not all(map(math.isfinite, (ends.start, ends.stop, ends.step))):
            raise ValueError("its ends and its step have to be finite")
        return list(override.sweep_iterator())
    except (ValueError, HydraException) as error:  # a step of zero
        raise ConfigError(
            f"{override.key_or_group}: this is no range: {error}",
            got=override.input_line,
            allowed="range(start,stop) or range(start,stop,step), finite, with a step other than 0",
        ) from error


def plain(value: Any) -> Any:
    """A parsed value without its quotes, within lists and mappings, too."""
    return Override._convert_value(value)


def given_as(override: Override, value: Any) -> Override:
    """The override that gives its key one value: a value of a sweep, or the result of its functions.

    The text stays as it was typed unless it is a sweep or calls functions. So each override can be replayed
    by itself.
    """
    line = str(override.input_line)
    if override.is_sweep_override() or ("(" in line and _calls(line)):
        line = f"{override.get_key_element()}={quote(value)}"
    return Override(
        type=override.type,
        key_or_group=override.key_or_group,
        value_type=ValueType.ELEMENT,
        _value=plain(value),
        package=override.package,
        input_line=line,
    )


def quote(value: Any) -> str:
    """Return the text that the grammar reads back as the same value of the same type.

    Args:
        value: None, a number, text, a path, a list, a mapping; NumPy's numbers are written as Python's.

    Raises:
        ConfigError: for a value that the grammar cannot express.
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case QuotedString():
            return quote(value.text)
        case int():
            return int.__repr__(value)
        case float():
            return float.__repr__(value)
        case str():
            if WORD.fullmatch(value) and value.lower() not in KEYWORDS:
                return str(value)
            # Hydra takes backslashes as they are, but those that stand before a quote.
            escaped = re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value)
            return f"'{escaped}'"
        case PurePath():
            return quote(str(value))
        case list() | tuple():
            return f"[{','.join(map(quote, value))}]"
        case dict():
            return "{" + ",".join(f"{_key(k)}:{quote(v)}" for k, v in value.items()) + "}"
        case np.generic():
            return quote(value.item())
    raise ConfigError(
        "Hydra's grammar has no words for this value",
        got=f"{value!r} ({type(value).__name__})",
        allowed="None, numbers, text, paths, lists and mappings of them",
    )


def quote_as_hydra(value: Any) -> str:
    """Write a parsed value as Hydra does if Hydra reads that back as the same value, else as `quote` does.

    Hydra forgets that a number is text: it turns `str(1,2)` into `1` and `2`.
    """
    text: str = Transformer.str(value)
    if value is None or isinstance(value, bool | int | float):
        return text
    try:
        same = _same(plain(_parser().parse_override(f"key={text}")._value), plain(value))
    except HydraException:
        same = False
    return text if same else quote(value)


def _key(key: Any) -> str:
    """Write a key of a mapping, which cannot be quoted in the grammar."""
    if not isinstance(key, str):
        return quote(key)
    text = escape_special_characters(key)
    try:
        if _parser().parse_override(f"key={{{text}:0}}").value() == {key: 0}:
            return text
    except HydraException:
        pass  # said below
    raise ConfigError(
        "Hydra's grammar cannot write this key of a mapping",
        got=repr(key),
        allowed="keys of letters and digits that begin with a letter",
        do="rename the key, or give the mapping in the configuration itself",
    )


def _same(a: Any, b: Any) -> bool:
    """Return whether two plain values are the same, types included: 1 differs from 1.0 and from true."""
    return repr(a) == repr(b)


def _calls(text: str) -> bool:
    """Return whether an override's value calls functions."""
    try:
        OverridesParser(functions=Functions()).parse_override(text)
    except HydraException:
        return True
    return False


@cache
def _parser() -> OverridesParser:
    """Hydra's own parser, with casts that keep tags and shuffling, and a glob that takes lists of quoted
    patterns."""
    functions = _Functions()
    vars(functions).update(vars(create_functions()))
    functions.functions["glob"] = lambda include, exclude=None: glob(plain(include), plain(exclude))
    for name in CASTS:
        functions.functions[name] = _keeping(functions.functions[name])
    return OverridesParser(functions=functions)


class _Functions(Functions):
    """Hydra's functions, which refuse a sweep beside other arguments with an error of our own."""

    def eval(self, func: FunctionCall) -> Any:
        given = [*func.args, *(func.kwargs[name] for name in TAKES_SWEEP if name in func.kwargs)]
        if func.name == "tag" or (len(given) == 1 and func.name not in OF_VALUES):
            given = [part for value in given for part in _parts(value)]
        values = [value for name, value in func.kwargs.items() if name not in TAKES_SWEEP]
        if _holds_sweep([*given, *values]):
            raise _NestedSweepError(func.name)
        return super().eval(func)


def _keeping(cast: Callable[..., Any]) -> Callable[..., Any]:
    def kept(*args: Any, value: Any = None) -> Any:
        found = cast(*args, value=value)
        given = args[0] if len(args) == 1 else value
        if isinstance(given, Sweep) and isinstance(found, Sweep):
            found.tags = set(given.tags)
        if isinstance(given, ChoiceSweep | RangeSweep) and isinstance(found, ChoiceSweep | RangeSweep):
            found.shuffle = given.shuffle
        return found

    return kept
