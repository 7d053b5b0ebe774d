"""Errors a person reads: what was wrong, what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from sweepflow.words import shortened

MAX_GOT = 600
"""Maximum number of characters of a given value that an error repeats: a list of thousands must not hide the
rest."""
MAX_BRIEF = 200
"""Maximum number of characters of an error that is shown repeatedly."""


class SweepflowError(Exception):
    """Base class of all errors that sweepflow raises on purpose.

    The text always has the same four parts, so that it fits one screen and can be acted on.

    Args:
        what: One sentence that says what is wrong.
        got: The value that was given; the error repeats it.
        allowed: Values that would have been accepted.
        do: The next thing to type or change.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, got: object = None, allowed: str | None = None, do: str | None = None
    ) -> None:
        self.what, self.got, self.allowed, self.do = what, got, allowed, do
        lines = [what]
        if got is not None:
            lines.append(f"  got:     {shortened(str(got), MAX_GOT, tail=100)}")
        if allowed:
            lines.append(f"  allowed: {allowed}")
        if do:
            lines.append(f"  do:      {do}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default exception pickling.
        return (_rebuild, (type(self), self.what, self.got, self.allowed, self.do))


def _rebuild(
    kind: type[SweepflowError], what: str, got: object, allowed: str | None, do: str | None
) -> SweepflowError:
    return kind(what, got=got, allowed=allowed, do=do)


class ConfigError(SweepflowError):
    """A configuration or an override that cannot be used; raised before any work starts."""

    exit_code = 2


class DataError(ConfigError):
    """A data set that cannot be read or does not have the shape that was asked for."""


class StoreError(SweepflowError):
    """A store that cannot be read or written."""

    exit_code = 2


class IncompleteError(SweepflowError):
    """Some batches failed, so the sweep is not complete; the finished results are in the store."""


def in_words(error: BaseException) -> str:
    """Return an exception on one line: what is wrong and what was given.

    For an exception that is not a `SweepflowError`, return its type and its text.

    >>> in_words(ConfigError("there is no such key", got="depht=2", do="did you mean 'depth'?"))
    'there is no such key: depht=2'
    >>> in_words(KeyError("depth"))
    "KeyError: 'depth'"
    """
    return ": ".join(" ".join(part.split()) for part in _parts(error) if part)


def with_advice(error: BaseException) -> str:
    """Return the text of `in_words`, and what to do, for places that show nothing else of the error.

    >>> with_advice(ConfigError("there is no such key", got="depht=2", do="did you mean 'depth'?"))
    "there is no such key: depht=2; did you mean 'depth'?"
    """
    do = error.do if isinstance(error, SweepflowError) else None
    return "; ".join(filter(None, [in_words(error), do]))


def in_brief(error: BaseException) -> str:
    """Return the text of `in_words` for the first line of each part, shortened, to show it repeatedly.

    >>> in_brief(OSError("Server error '500'\\nFor more information check: https://example.org"))
    "OSError: Server error '500'"
    """
    lines = (part.strip().partition("\n")[0] for part in _parts(error))
    return shortened(": ".join(" ".join(line.split()) for line in lines if line), MAX_BRIEF)


def _parts(error: BaseException) -> tuple[str, str]:
    if isinstance(error, SweepflowError):
        return error.what, "" if error.got is None else shortened(str(error.got), MAX_GOT, tail=100)
    return type(error).__name__, _text(error)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # whatever a user's own type may raise
        return ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, or None if no name is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence for the `do` part: the nearest known name, or a reference to the names above it."""
    match = nearest(name, known)
    return f"did you mean {match!r}?" if match else "take one of the names above"
