"""Who says what is called next: the protocol of sweepers, and those that ship.

A sweeper is asked for overrides and told how good they were. Without one, overrides are a grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from sweepflow.compose.grammar import quote
from sweepflow.errors import ConfigError
from sweepflow.jobs.job import Goal, Job
from sweepflow.space import Distribution, Space


@runtime_checkable
class Sweeper(Protocol):
    """Any class with these three methods."""

    def begin(self, space: Mapping[str, Distribution], goal: Goal) -> None:
        """Told once, before the first question.

        Args:
            space: What the overrides leave open, by key: intervals and choices as they are written, lists of
                values as choices among them.
            goal: Whether a small or a large score is good.
        """

    def ask(self, n: int) -> Sequence[Sequence[str]]:
        """Overrides of the next jobs, `n` at most; none where the search is over."""

    def tell(self, job: Job, score: float) -> None:
        """Told of every job that has ended, in the order in which they were asked for.

        Args:
            job: What was called, and what came of it.
            score: How good that is; NaN where it failed.
        """


class _Drawn:
    """A design that is drawn beforehand, and does not look at scores."""

    method: Literal["random", "sobol", "grid"]

    def __init__(self, jobs: int, seed: int = 0) -> None:
        self.jobs, self.seed = jobs, seed
        self._left: Iterator[list[str]] = iter(())

    def begin(self, space: Mapping[str, Distribution], goal: Goal) -> None:
        """See `Sweeper`."""
        if not space:
            raise ConfigError(
                "there is nothing to draw",
                got="overrides of one value each",
                allowed="x=interval(0,1), x=choice(a,b), x=a,b",
                do="leave a key open, or give no sweeper",
            )
        rows = Space(parameters=dict(space)).draw(self.jobs, self.method, self.seed).rows
        self._left = iter([[override(key, value) for key, value in row.items()] for row in rows])

    def ask(self, n: int) -> Sequence[Sequence[str]]:
        """See `Sweeper`."""
        return [texts for _, texts in zip(range(n), self._left, strict=False)]

    def tell(self, job: Job, score: float) -> None:
        """See `Sweeper`."""


class Random(_Drawn):
    """Independent draws (Bergstra and Bengio 2012).

    Args:
        jobs: How many.
        seed: Of the draws; the first of a longer search are those of a shorter one.
    """

    method = "random"


class Sobol(_Drawn):
    """Scrambled Sobol points: evener than random ones; best a power of two.

    Args:
        jobs: How many.
        seed: Of the scrambling; the first of a longer search are those of a shorter one.
    """

    method = "sobol"


class Grid(_Drawn):
    """Every value of what is discrete, evenly spaced quantiles of what is not, the last key fastest.

    Args:
        jobs: How many at most.
    """

    method = "grid"

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs)


def override(key: str, value: Any) -> str:
    """One override in Hydra's grammar.

    Args:
        key: Dotted key, or group.
        value: A number, text, None, or a list of such, or a mapping with plain words as keys.
    """
    return f"{key}={quote(value)}"
