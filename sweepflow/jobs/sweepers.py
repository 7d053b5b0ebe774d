"""The protocol of sweepers, which choose the next jobs, and the sweepers that are included.

A sweeper is asked for overrides, and told their scores. Without a sweeper, overrides are a grid.
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
        """Begin a search; called once, before the first `ask`.

        Args:
            space: Distributions that the overrides leave open, by key: intervals and choices as they are
                written, lists of values as choices among the values.
            goal: Whether a small or a large score is good.
        """

    def ask(self, n: int) -> Sequence[Sequence[str]]:
        """Return the overrides of the next jobs, `n` at most; none if the search is over."""

    def tell(self, job: Job, score: float) -> None:
        """Take the score of a job that has ended; called for every job, in the order of the requests.

        Args:
            job: The job, with its result.
            score: Score of the job; NaN if it failed.
        """


class _Drawn:
    """A design that is drawn in advance, and ignores scores."""

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
        jobs: Number of jobs.
        seed: Seed of the draws; the first jobs of a longer search are those of a shorter one.
    """

    method = "random"


class Sobol(_Drawn):
    """Scrambled Sobol points: more even than random ones; best with a power of two.

    Args:
        jobs: Number of jobs.
        seed: Seed of the scrambling; the first jobs of a longer search are those of a shorter one.
    """

    method = "sobol"


class Grid(_Drawn):
    """Every value of discrete keys, and evenly spaced quantiles of other keys; the last key varies fastest.

    Args:
        jobs: Maximum number of jobs.
    """

    method = "grid"

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs)


def override(key: str, value: Any) -> str:
    """Return one override in Hydra's grammar.

    Args:
        key: Dotted key, or group.
        value: A number, text, None, a list of these, or a mapping with plain words as keys.
    """
    return f"{key}={quote(value)}"
