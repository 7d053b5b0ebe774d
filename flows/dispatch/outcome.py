"""The outcome of running batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Outcome of running batches, in addition to the records in the store.

    Attributes:
        failures: Failures, in words.
        why: The failure of each trial that has no result because of it, by id.
        compiled, from_cache: Number of programs that were compiled, and that were found in the persistent
            compilation cache.
        states: Final states of task runs that could not report them themselves, by id.
        notes: Notes for the user.
        stopped: Trials that halving ended early, by id: the id of the record that each trial has instead of
            its own, and the rung.
    """

    failures: list[str] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    compiled: int = 0
    from_cache: int = 0
    states: dict[Any, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        """Add the outcome of other batches."""
        self.failures += other.failures
        self.why |= other.why
        self.compiled += other.compiled
        self.from_cache += other.from_cache
        self.states |= other.states
