"""One comparison with the truth: the configuration to run, the true value, and the tolerance."""

from __future__ import annotations

from dataclasses import dataclass

from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.sampler import sampler_name


@dataclass(frozen=True)
class Tolerance:
    """Maximum distance of an estimate from the truth; every bound that is given has to hold.

    Attributes:
        relative: Maximum distance as a share of the truth.
        standard_errors: Maximum distance in multiples of the estimate's own Monte Carlo standard error; None
            if the sampler, or the truth at this n, is known to be biased by more than that.
        or_flagged: Whether an estimate outside the bounds is accepted if its own verdict flags it.
    """

    relative: float
    standard_errors: float | None = None
    or_flagged: bool = False


@dataclass(frozen=True)
class Case:
    """One estimate whose true value is known.

    Attributes:
        name: Name for people; not unique without the sampler.
        config: Configuration to run.
        truth: True value, which lambda-hat has to match.
        tolerance: Tolerance of the match.
        note: Description of the truth, and the reason if the estimate is expected to differ from it.
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
