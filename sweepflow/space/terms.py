"""Meaning of the values in the rules of a space: `set: {KEY: VALUE}`, `when: {KEY: VALUE}`.

    16, 1e-3, true, null     itself; "16" with quotes is ambiguous, and is refused
    "learning_rate / 2"      an expression over keys
    adam                     text, as no key has this name
    "'runs/a-1.csv'"         always text

The meaning of a list or a mapping follows from its values.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sweepflow.errors import ConfigError
from sweepflow.space.expressions import bind

_WORD = re.compile(r"[^\W\d]\w*")
_LITERAL = re.compile(r"\s*([+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?|[Tt]rue|[Ff]alse|null|None)\s*")
_SLIP = 0.8
"""Similarity to a key from which a word is taken for a typing error, and not for text."""
FORMS = "a number, true, false, null, a word that is no key, an expression, or text in quotes of its own"


@dataclass(frozen=True)
class Term:
    """A value bound to the keys that are known.

    Attributes:
        keys: The keys that the value uses.
        of: Function that computes the value from values by dotted key.
    """

    keys: frozenset[str]
    of: Callable[[Mapping[str, Any]], Any]


def term(raw: Any, known: Collection[str], where: str) -> Term:
    """Bind a value.

    Args:
        raw: The value from YAML or Python.
        known: Every dotted key that the value may use.
        where: Place of the value, for errors: `set: args.l2`.

    Raises:
        ConfigError: for text that is neither a word nor an expression over these keys.
    """
    match raw:
        case str() if _LITERAL.fullmatch(raw) and raw not in known:
            raise ConfigError(
                f"{where}: a number or a word of YAML in quotes may be meant as itself or as text",
                got=repr(raw),
                allowed=FORMS,
                do=f"write {raw.strip()} without quotes, or \"'{raw}'\" for the text",
            )
        case str() if not raw.strip() or (_WORD.fullmatch(raw) and raw not in known):
            return _text(raw, known, where)
        case str():
            return _expression(raw, known, where)
        case list() | tuple():
            items = [term(item, known, where) for item in raw]
            return Term(_keys(items), lambda values: [item.of(values) for item in items])
        case Mapping():
            named = {key: term(value, known, f"{where}.{key}") for key, value in raw.items()}
            return Term(
                _keys(named.values()), lambda values: {key: one.of(values) for key, one in named.items()}
            )
    return Term(frozenset(), lambda values: raw)


def _keys(terms: Collection[Term]) -> frozenset[str]:
    return frozenset(key for one in terms for key in one.keys)


def _text(word: str, known: Collection[str], where: str) -> Term:
    if close := difflib.get_close_matches(word, known, n=1, cutoff=_SLIP):
        raise ConfigError(
            f"{where}: {word!r} is no key, and is too like one to be text",
            got=word,
            allowed=FORMS,
            do=f"write {close[0]} for the key, or \"'{word}'\" for the text",
        )
    return Term(frozenset(), lambda values: word)


def _expression(text: str, known: Collection[str], where: str) -> Term:
    try:
        expression = bind(text, known)
    except ConfigError as error:
        raise ConfigError(
            f"{where}: {error.what}",
            got=text,
            allowed=FORMS + (f"; keys: {', '.join(sorted(known))}" if known else ""),
            do=f'{error.do}; for text write "{text!r}"' if error.do else f'for text write "{text!r}"',
        ) from None

    def of(values: Mapping[str, Any]) -> Any:
        value = expression.value(values)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(
                f"{where}: the expression {text!r} gives no finite number",
                got=", ".join(f"{key}={values[key]!r}" for key in sorted(expression.keys)),
                do="leave out with skip where it would, or write it another way",
            )
        return value

    return Term(expression.keys, of)
