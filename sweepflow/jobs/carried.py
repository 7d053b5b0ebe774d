"""The content of a callable besides its name: its text, its byte code, and the values that it carries."""

from __future__ import annotations

import dis
import hashlib
import inspect
import pickle
import textwrap
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from sweepflow.installed import is_installed
from sweepflow.jobs.identity import qualified_name

ONE_PARSES = threading.Lock()
"""Lock for parsing: Python 3.11 raises a SystemError if two threads parse at once, as `inspect` does to find
a class."""
SCALARS = (type(None), bool, int, float, complex, str, bytes)


class Source(NamedTuple):
    """The content that distinguishes a callable from others of the same name.

    Attributes:
        digest: Digest of its text, byte code and values; empty for a callable that is not written in Python,
            which changes only with its library.
        unknown: Type of a carried value that cannot be distinguished from others of its type; empty if there
            is none.
    """

    digest: str
    unknown: str = ""


def source_of(function: Any) -> Source:
    """Return the source of a callable: its own source text and byte code, and the values in its closure, its
    defaults, the plain global variables that it uses, and its attributes. Other callables that it calls are
    not examined.
    """
    walk = _Walk()
    if isinstance(function, BuiltinFunctionType):
        return Source("")
    text = walk.words(function)
    return Source(_digest(text.encode()), walk.unknown)


class _Walk:
    """Texts of values: equal for equal values, in any process."""

    def __init__(self) -> None:
        self.unknown = ""
        self._above: list[Any] = []

    def words(self, value: Any) -> str:
        """Return the text of a value and of all that it contains."""
        if isinstance(value, SCALARS):
            return f"{type(value).__name__} {value!r}"
        if any(value is one for one in self._above):
            return "itself"
        self._above.append(value)
        try:
            return f"{qualified_name(type(value))} {self._inner(value)}"
        finally:
            self._above.pop()

    def _inner(self, value: Any) -> str:
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType():
                return self._all([value.__func__, value.__self__])
            case partial():
                return self._all([value.func, value.args, value.keywords])
            case ModuleType() | BuiltinFunctionType():
                return qualified_name(value)
            case type():
                return f"{qualified_name(value)} {_text(value)}"
            case Enum():
                return value.name
            case PurePath():
                return str(value)
            case set() | frozenset():
                return repr(sorted(self.words(item) for item in value))
            case list() | tuple():
                return self._all(value)
            case np.ndarray() if type(value) is np.ndarray and value.dtype != object:
                return self._array(value)
            case np.generic():
                return self._array(np.asarray(value))
            case dict():
                return repr(sorted((self.words(key), self.words(item)) for key, item in value.items()))
        if _is_of_jax(value):
            return self._array(np.asarray(value))
        if hasattr(value, "__wrapped__"):  # jax.jit, functools.cache
            return self.words(value.__wrapped__)
        return self._object(value)

    def _all(self, values: Any) -> str:
        return repr([self.words(value) for value in values])

    def _array(self, value: np.ndarray) -> str:
        return f"{value.dtype.str} {value.shape} {_digest(np.ascontiguousarray(value).tobytes())}"

    def _function(self, function: FunctionType) -> str:
        cells = [self._cell(cell) for cell in function.__closure__ or ()]
        used = {name: function.__globals__.get(name) for name in sorted(set(names_in(function.__code__)))}
        plain = {name: value for name, value in used.items() if value is not None and _is_plain(value)}
        carried = self._all([function.__defaults__, function.__kwdefaults__, plain])
        return f"{_text(function)} {_byte_code(function.__code__)} {cells} {carried}"

    def _cell(self, cell: Any) -> str:
        try:
            return self.words(cell.cell_contents)
        except ValueError:  # nothing is in it yet
            return "empty"

    def _object(self, value: Any) -> str:
        kind = type(value)
        slots = [name for base in kind.__mro__ for name in np.atleast_1d(base.__dict__.get("__slots__", []))]
        state = {str(name): getattr(value, name) for name in slots if hasattr(value, name)}
        state |= getattr(value, "__dict__", {})
        # Data of types written in C is seen by pickling alone.
        if isinstance(value, np.ndarray) or not (state or hasattr(value, "__dict__")):
            try:
                return _digest(pickle.dumps(value, protocol=4))
            except Exception:  # whatever pickling a user's type may raise
                self.unknown = qualified_name(kind)
                return "unknown"
        method = kind.__dict__.get("__call__")
        called = self.words(method) if isinstance(method, FunctionType) else ""
        return f"{_text(kind)} {called} {self.words(state)}"


def _is_plain(value: Any) -> bool:
    """Return whether a global variable is a constant: a number, text, an array, or a structure of these."""
    match value:
        case _ if isinstance(value, (*SCALARS, np.ndarray, np.generic)):
            return True
        case list() | tuple() | set() | frozenset():
            return all(_is_plain(item) for item in value)
        case dict():
            return all(_is_plain(item) for item in value.values())
    return _is_of_jax(value)


def _is_of_jax(value: Any) -> bool:
    """Return whether a value is a JAX array; JAX need not be imported."""
    return type(value).__module__.startswith("jaxlib") and hasattr(value, "__array__")


def names_in(code: CodeType) -> Iterator[str]:
    """Yield the names of global variables that a code object, or one within it, reads."""
    for one in _codes(code):
        for instruction in dis.get_instructions(one):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                yield str(instruction.argval)


def functions_in(function: Any) -> Iterator[FunctionType]:
    """Yield the user's own functions that a callable may call: the callable itself, and functions that are
    named by it, by the values that it carries, or by one of these functions; for classes, their methods.
    Installed libraries are not searched."""
    waiting, seen = [function], dict[int, Any]()
    while waiting:
        one = waiting.pop()
        if not callable(one) or id(one) in seen:
            continue
        seen[id(one)] = one  # which keeps its id from being another's
        if hasattr(one, "__wrapped__"):  # jax.jit, functools.cache, decorators
            waiting.append(one.__wrapped__)
        match one:
            case FunctionType() if not is_installed(one.__code__.co_filename):
                yield one
                waiting += _named(one)
            case partial():
                waiting += [one.func, *one.args, *one.keywords.values()]
            case MethodType():
                waiting += [one.__func__, one.__self__]
            case type():
                waiting += [value for value in vars(one).values() if callable(value)]
            case _ if isinstance(type(one).__dict__.get("__call__"), FunctionType):
                waiting.append(type(one))


def _named(function: FunctionType) -> Iterator[Any]:
    """Yield the objects that a function may call: those that its code names, its closure and its defaults."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing is in it yet
            yield cell.cell_contents
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    attributes = {name for code in _codes(function.__code__) for name in code.co_names}
    for name in set(names_in(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            yield from (vars(value)[attribute] for attribute in attributes & vars(value).keys())
        else:
            yield value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _byte_code(code: CodeType) -> str:
    """Return byte code as text. It is needed besides the source text: the text of an imported module may have
    changed since the import, and the text of a lambda is the line that it is on."""
    return f"{code.co_code!r} {code.co_names!r} {[_constant(constant) for constant in code.co_consts]}"


def _constant(constant: Any) -> str:
    if isinstance(constant, CodeType):
        return _byte_code(constant)
    return repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def _text(of: Any) -> str:
    try:
        with ONE_PARSES:
            return textwrap.dedent(inspect.getsource(of))
    except (OSError, TypeError):
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
