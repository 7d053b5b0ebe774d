"""Expressions over dotted keys, written by people: `optimizer == adam and batch_size * learning_rate > 10`.

Python's `ast` parses the text, and a whitelist checks every node; `eval` is never called. There are no
attributes of values, no subscripts, no calls except `FUNCTIONS`, and powers are floating point. So no text,
even a hostile one, reaches the interpreter or costs more than microseconds.

A word is a key if a key of that name is known. Otherwise it is a string in places where a string makes sense:
to the right of `==`, `!=`, `in` and `not in`, and in a list. In all other places it has to be a key.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sweepflow.errors import ConfigError, did_you_mean, nearest

T = TypeVar("T")

MAX_CHARACTERS = 500
LARGEST_EXACT = 2**53
"""Largest integer up to which float64 represents every integer exactly."""
GRAMMAR = "keys, numbers, words, lists, + - * / // % **, == != < <= > >=, in, and, or, not, "
WORDS = {"true": True, "false": False, "null": None}
"""YAML's words for Python's True, False and None."""


class NoValueError(Exception):
    """A key of the expression has no value in this row: the key is conditional and has no default."""


@dataclass(frozen=True)
class Expression:
    """A condition bound to the keys that are known.

    Attributes:
        text: The expression as it was written.
        tree: The syntax tree, in which every `ast.Name` is a known dotted key and every word is a constant.
        keys: The keys that the expression uses.
    """

    text: str
    tree: ast.expr
    keys: frozenset[str]

    def holds(self, values: Mapping[str, Any]) -> bool | None:
        """Return whether the expression is true for these values, by dotted key; None if a key that it needs
        has no value.

        Raises:
            ConfigError: if the expression cannot be computed (a division by zero, a string compared with a
                number), or is no truth value.
        """
        try:
            return self._computed(_truth, values)
        except NoValueError:
            return None

    def value(self, values: Mapping[str, Any]) -> Any:
        """Compute the expression for these values, by dotted key.

        Raises:
            NoValueError: if a key that the expression needs has no value.
            ConfigError: if the expression cannot be computed.
        """
        return self._computed(_value, values)

    def _computed(self, compute: Callable[[ast.expr, Mapping[str, Any]], T], values: Mapping[str, Any]) -> T:
        try:
            return compute(self.tree, values)
        except (TypeError, ValueError, ArithmeticError) as error:
            seen = ", ".join(f"{key}={values[key]!r}" for key in sorted(self.keys) if key in values)
            raise ConfigError(
                f"the expression {self.text!r} cannot be computed: {error}",
                got=seen,
                do="compare first what could fail, such as: momentum > 0 and 1 / momentum < 5",
            ) from error


def check_syntax(text: str) -> ast.expr:
    """Return the syntax tree of an expression whose keys are not known yet.

    Raises:
        ConfigError: for text that is no expression, is too long, or uses syntax that expressions do not have.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"an expression has {len(text)} characters", got=text, allowed=f"at most {MAX_CHARACTERS}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes and the like; the whitelist refuses what matters
            tree = ast.parse(text.strip(), mode="eval").body
        _bound(tree, None, words=False)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = getattr(error, "msg", None) or str(error)
        raise ConfigError(
            "this is not an expression",
            got=text,
            allowed=_grammar(),
            do=_rewrite(text) or f"mend it; the parser says: {hint}",
        ) from None
    return tree


def bind(text: str, known: Collection[str]) -> Expression:
    """Bind an expression to known keys.

    Args:
        text: An expression such as `optimizer in [adam, adamw] and weight_decay > learning_rate`.
        known: Every dotted key that the expression may use.

    Raises:
        ConfigError: as for `check_syntax`, and for a word that has to be a key and is not known.
    """
    syntax = check_syntax(text)
    try:
        tree = _bound(syntax, known, words=False)
    except ConfigError as error:
        raise ConfigError(error.what, got=text, allowed=error.allowed, do=error.do) from None
    keys = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Expression(text, tree, keys)


def _grammar() -> str:
    return GRAMMAR + ", ".join(f"{name}()" for name in FUNCTIONS)


def _rewrite(text: str) -> str | None:
    """Advice for a likely typing error; None if no such error is found."""
    for wrong, right in (("&&", "and"), ("||", "or"), ("!", "not")):
        if wrong in text.replace("!=", ""):
            return f"write {right!r} for {wrong!r}"
    bare = text
    for comparison in ("==", "!=", "<=", ">="):
        bare = bare.replace(comparison, "")
    return "compare with ==, not with =" if "=" in bare else None


def _bound(node: ast.expr, known: Collection[str] | None, words: bool) -> ast.expr:
    """The same syntax tree with dotted keys as single names and words as constants.

    Args:
        node: The syntax tree of any expression.
        known: The known keys; None if they are not known yet, and every name is accepted.
        words: Whether an unknown name is a string at this place.
    """
    match node:
        case ast.Name() | ast.Attribute() if (name := _dotted(node)) is not None:
            return _bound_name(name, known, words)
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return ast.List([_bound(item, known, words=True) for item in items])
        case ast.BoolOp(op=op, values=items):
            return ast.BoolOp(op, [_bound(item, known, words=False) for item in items])
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd() as sign, operand=operand):
            return ast.UnaryOp(sign, _bound(operand, known, words=False))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return ast.BinOp(_bound(left, known, words=False), op, _bound(right, known, words=False))
        case ast.Compare(left=left, ops=ops, comparators=items) if all(type(op) in COMPARISONS for op in ops):
            as_words = [isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in ops]
            bound = [_bound(item, known, w) for item, w in zip(items, as_words, strict=True)]
            return ast.Compare(_bound(left, known, words=False), ops, bound)
        case ast.Call(func=ast.Name(id=name), args=items, keywords=[]):
            if name not in FUNCTIONS:
                raise ConfigError(
                    f"an expression has no function {name!r}",
                    got=ast.unparse(node),
                    allowed=", ".join(FUNCTIONS),
                    do=did_you_mean(name, FUNCTIONS),
                )
            return ast.Call(ast.Name(name), [_bound(item, known, words=False) for item in items], [])
    raise ConfigError(
        "an expression cannot hold this",
        got=ast.unparse(node),
        allowed=_grammar(),
        do="write it with what is allowed",
    )


def _bound_name(name: str, known: Collection[str] | None, words: bool) -> ast.expr:
    if known is None or name in known:
        return ast.Name(name)
    if name in WORDS:
        return ast.Constant(WORDS[name])
    if words and "." not in name:
        return ast.Constant(name)
    raise ConfigError(
        f"there is no key {name!r}",
        got=name,
        allowed=", ".join(sorted(known)) or "no key at all",
        do=did_you_mean(name, known)
        if nearest(name, known)
        else "name a key; text is quoted, or stands to the right: optimizer == adam",
    )


def _dotted(node: ast.expr) -> str | None:
    """The dotted name of a name or of an attribute of a name, such as `model.widths`; None for an attribute
    of anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner, attr=name):
            prefix = _dotted(owner)
            return None if prefix is None else f"{prefix}.{name}"
    return None


def _value(node: ast.AST, values: Mapping[str, Any]) -> Any:
    """The value of a bound syntax tree; its names are dotted keys."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=key):
            if key not in values:
                raise NoValueError(key)
            return values[key]
        case ast.List(elts=items):
            return [_value(item, values) for item in items]
        case ast.BoolOp(op=op, values=items):
            decides = isinstance(op, ast.Or)
            return decides if any(_truth(item, values) is decides for item in items) else not decides
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth(operand, values)
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(_value(operand, values))
            return -number if isinstance(op, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right):
            return ARITHMETIC[type(op)](_number(_value(left, values)), _number(_value(right, values)))
        case ast.Compare(left=left, ops=ops, comparators=items):
            one = _value(left, values)
            for comparison, item in zip(ops, items, strict=True):
                other = _value(item, values)
                if not COMPARISONS[type(comparison)](one, other):
                    return False
                one = other
            return True
        case ast.Call(func=ast.Name(id=name), args=items):
            return FUNCTIONS[name](*(_value(item, values) for item in items))
    raise TypeError(f"{type(node).__name__} is not bound syntax")


def _truth(node: ast.AST, values: Mapping[str, Any]) -> bool:
    value = _value(node, values)
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _power(base: float, exponent: float) -> float:
    """The power of two numbers as floats: 9**9**9 overflows at once, but Python's integers would fill the
    memory.

    The result is an int if both numbers are ints and the result is exact.
    """
    power = math.pow(base, exponent)
    whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    return int(power) if whole and abs(power) <= LARGEST_EXACT else power


def _in(item: Any, collection: Any) -> bool:
    return item in collection


ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: _in,
    ast.NotIn: lambda item, collection: not _in(item, collection),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "min": min,
    "max": max,
    "abs": abs,
    "log10": math.log10,
}
