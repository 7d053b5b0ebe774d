"""One comparison with the truth: what to run, what has to come out, and how close."""

from __future__ import annotations

from dataclasses import dataclass

from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.sampler import sampler_name


@dataclass(frozen=True)
class Tolerance:
    """How far an estimate may be from the truth; every bound that is given has to hold.

    Attributes:
        relative: Share of the truth.
        standard_errors: Multiples of the estimate's own Monte Carlo standard error; None where the
            sampler, or the truth at this n, is known to be biased by more than that.
        or_flagged: Whether an estimate that is farther off is in order where its own verdict says so.
    """

    relative: float
    standard_errors: float | None = None
    or_flagged: bool = False


@dataclass(frozen=True)
class Case:
    """One estimate whose true value is known.

    Attributes:
        name: For people; not unique without the sampler.
        config: What to run.
        truth: What lambda-hat has to come out as.
        tolerance: How close.
        note: What the truth is, and why the estimate is expected beside it, where it is.
        quick: Whether it belongs to the quick subset.
    """

    name: str
    config: LlcConfig
    truth: float
    tolerance: Tolerance
    note: str = ""
    quick: bool = False

    @property
    def sampler(self) -> str:
        """The sampler's name."""
        return sampler_name(self.config.sampler)
