"""The line of a user's program that has asked for jobs: warnings about them point at it."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from typing import Any

BETWEEN = frozenset({"sweepflow", "hydra_plugins", "hydra", "hydra_zen", "prefect"})
"""Packages whose lines are not the user's."""


@dataclass(frozen=True)
class Caller:
    """A line of a program.

    Attributes:
        file: Its file.
        line: Its number.
        module: Name of its module.
        registry: Warnings that were issued for that module's lines, which Python's warning filters read.
    """

    file: str
    line: int
    module: str
    registry: dict[Any, Any] = field(repr=False)

    def warn(self, words: str, category: type[Warning]) -> None:
        """Issue a warning as if that line did, from any thread, and at any depth in a flow."""
        warnings.warn_explicit(words, category, self.file, self.line, self.module, self.registry)


def caller() -> Caller:
    """Return the innermost running line that is the user's; the outermost line if none is."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _name(frame.f_globals).partition(".")[0] in BETWEEN:
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    return Caller(frame.f_code.co_filename, frame.f_lineno, _name(frame.f_globals), registry)


def _name(module: dict[str, Any]) -> str:
    return str(module.get("__name__"))
