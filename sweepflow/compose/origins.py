"""Sources of the values of one configuration: typed, drawn, read from a table, or set by a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweepflow.compose.allowed import typed
from sweepflow.compose.axes import TYPED, Axis
from sweepflow.compose.overlaps import holds


@dataclass(frozen=True)
class Source:
    """Source of a value that was not typed.

    Attributes:
        words: The source in words, written after the value: `from the table samples.csv, row 3`.
        mend: The thing that a person has to change: `the table`.
        yields: Whether an override of the command line takes precedence over this source.
    """

    words: str
    mend: str
    yields: bool = True


A_FILE = Source("from a configuration file", "the file")
A_TABLE = Source("from the table", "the table", yields=False)
A_REPEAT = Source("drawn for the repeats", "--repeats", yields=False)


@dataclass(frozen=True)
class Origins:
    """Sources of the values of one configuration.

    Attributes:
        axes: The overrides.
        drawn: Sources of the keys that were set after Hydra composed, by dotted key.
    """

    axes: Sequence[Axis]
    drawn: Mapping[str, Source] = field(default_factory=dict)

    def source(self, key: str) -> Source | None:
        """The source of a key's value; None if it, a part of it, or a value that contains it was typed."""
        if (drawn := self._drawn(key)) is not None:
            return drawn[1]
        near = [axis for axis in self.axes if axis.key == key and not axis.is_group] or self._around(key)
        if not near:
            return A_FILE
        elsewhere = [axis.source for axis in near if axis.source != TYPED]
        return Source(f"from the {elsewhere[0]}", f"the {elsewhere[0]}") if elsewhere else None

    def given(self, key: str, value: object) -> str:
        """A refused value as it was typed, or as it was found elsewhere."""
        if (drawn := self._drawn(key)) is not None:
            whole, source = drawn
            return f"{key}={typed(value)}, {f'in {whole}, ' * (whole != key)}{source.words}"
        exact = next((axis for axis in self.axes if axis.key == key and not axis.is_group), None)
        if exact is not None and exact.sweeps:
            return f"{key}={typed(value)}, one of {exact.shown}"
        if exact is not None:
            return f"{exact.shown}, which is {typed(value)}" if "${" in exact.text else exact.shown
        if around := self._around(key):
            return " ".join(axis.shown for axis in around)
        files = [a for a in self.axes if a.is_group and (a.key == "experiment" or holds(a.key, f"{key}."))]
        chosen = [axis.text for axis in files]
        return f"{key}={typed(value)}, {A_FILE.words}" + (f" ({', '.join(chosen)})" if chosen else "")

    def _drawn(self, key: str) -> tuple[str, Source] | None:
        return next(((k, self.drawn[k]) for k in self.drawn if k == key or holds(k, key)), None)

    def _around(self, key: str) -> list[Axis]:
        """Overrides of a part of the key's value, or of a value that contains it."""
        return [a for a in self.axes if holds(key, a.key) or (holds(a.key, key) and not a.is_group)]
