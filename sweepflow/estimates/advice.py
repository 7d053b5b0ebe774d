"""Advice on the findings against an estimate: the override and its value, from what was seen.

All advice can be typed as it is: it is in the bounds of its field, and passes `length.check_length`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sweepflow.estimates.chains import Chains
from sweepflow.estimates.length import MOST_DRAWS, WARMUP_TIMES, room
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
    StochasticSampler,
)

MAX_LOCALISATION = 0.3
"""Maximum of gamma / nbeta. Above it, even a direction of curvature 1, as in standardised regression, loses a
quarter."""
SAFE_GROWTH = 1.5
"""Safety factor of the advice over the amount that the observations say is needed."""
MOST_ADVISED = 16.0
"""Maximum factor by which any quantity is increased in one piece of advice."""
CRAWLING = 0.98
"""Acceptance of a Metropolis correction above which SGLD's step is at most half of the step that SGLD finds
itself."""
MOST_ACCEPTED = 0.99
"""Target acceptance of HMC above which steps only get shorter."""


@dataclass(frozen=True)
class Advice:
    """The overrides for one estimate; each is empty if no override would help.

    Attributes:
        sampler: The sampler as it was run, settled.
        rows: Number of stored rows of the data.
        chains: Behaviour of its chains.
        ess: Effective number of draws.
    """

    sampler: SamplerConfig
    rows: int
    chains: Chains
    ess: float

    def smaller_step(self) -> str:
        """Return the override that shortens steps that are far too long."""
        match self.sampler:
            case SgldSampler() | SgnhtSampler():
                if not self.sampler.tunes_step_size:
                    return "sampler.step_size=auto"
                size = self.chains.step_size
                return f"sampler.step_size={typed(size / 10)}" if math.isfinite(size) and size > 0 else ""
            case HmcSampler() | NutsSampler():
                target = self.sampler.target_acceptance
                if target >= MOST_ACCEPTED:
                    return self.nearer()
                return f"sampler.target_acceptance={max(0.95, 1 - (1 - target) / 4):.3g}"
            case MclmcSampler():
                return f"sampler.desired_energy_var={typed(self.sampler.desired_energy_var / 10)}"

    def nearer(self, growth: float = 10.0) -> str:
        """Return the override that holds chains nearer to w0, as far as this hides no direction."""
        assert self.sampler.nbeta is not None  # settled
        most = 0.9 * MAX_LOCALISATION * self.sampler.nbeta
        gamma = min(growth * self.sampler.gamma or 1.0, most)
        return f"sampler.gamma={typed(gamma)}" if gamma >= 1.5 * self.sampler.gamma else ""

    def longer(self, growth: float) -> str:
        """Return the override that draws this many times as much."""
        sampler = self.sampler
        growth = min(SAFE_GROWTH * max(growth, 1.0), MOST_ADVISED)
        if self._crawls():
            return "sampler.step_size=auto"
        if sampler.draws != "auto":
            return "sampler.draws=auto"
        assert sampler.ess is not None and sampler.max_gradients is not None  # settled
        # What ended the draws has to be raised: that there were enough, or the budget.
        gradients = max(growth * self.chains.full_gradients, sampler.max_gradients)
        if self.ess < sampler.ess or not math.isfinite(self.ess):
            return self._budget(gradients)
        ess = typed_whole(growth * self.ess)
        while sampler.chains * room(self._with_budget(gradients), self.rows) < int(ess):
            gradients *= SAFE_GROWTH
        more = [self._budget(gradients)] if gradients > sampler.max_gradients else []
        return " ".join([f"sampler.ess={ess}", *more])

    def farther(self) -> str:
        """Return the override that lets chains move farther from their positions."""
        if not isinstance(self.sampler, HmcSampler):
            return self.longer(4.0)
        steps = {"num_integration_steps": 4 * self.sampler.num_integration_steps}
        dearer = replace(self.chains, full_gradients=4 * self.chains.full_gradients)
        farther = replace(self, sampler=self.sampler.model_copy(update=steps), chains=dearer)
        return f"sampler.num_integration_steps={steps['num_integration_steps']} {farther.longer(4.0)}"

    def longer_warmup(self, steps: float = 0) -> str:
        """Return the override for a warm-up of at least this many steps, and of twice as many as there
        were."""
        sampler, chains = self.sampler, self.chains
        if self._crawls():
            return "sampler.step_size=auto"
        steps = max(steps, 2 * chains.warmup_steps, 1000)
        if not chains.warmup_steps < WARMUP_TIMES * chains.relaxation_time or sampler.warmup != "auto":
            return f"sampler.warmup={typed_whole(steps)}"
        # The budget has cut it short.
        assert sampler.max_gradients is not None  # settled
        growth = min(SAFE_GROWTH * steps / max(chains.warmup_steps, 1), MOST_ADVISED)
        return either(self._budget(growth * sampler.max_gradients), self.nearer(growth))

    def _crawls(self) -> bool:
        """Return whether the step is given, and so short that another step is worth more than a longer
        run."""
        sampler = self.sampler
        return (
            isinstance(sampler, StochasticSampler)
            and not sampler.tunes_step_size
            and self.chains.mala_acceptance > CRAWLING
        )

    def _budget(self, gradients: float) -> str:
        """Return the override that gives room for this many gradients, in the trace too."""
        wanted = self._with_budget(gradients)
        thinner = f" sampler.thinning={wanted.thinning}" if wanted.thinning > self.sampler.thinning else ""
        return f"sampler.max_gradients={wanted.max_gradients}{thinner}"

    def _with_budget(self, gradients: float) -> SamplerConfig:
        sampler = self.sampler.model_copy(update={"max_gradients": int(typed_whole(gradients))})
        while room(sampler, self.rows) > MOST_DRAWS:
            sampler = sampler.model_copy(update={"thinning": 2 * sampler.thinning})
        return sampler


def either(*overrides: str) -> str:
    """Join alternative overrides, one of which is to be taken.

    >>> either("sampler.step_size=auto", "", "sampler.gamma=30")
    'sampler.step_size=auto, or sampler.gamma=30'
    """
    return ", or ".join(filter(None, overrides))


def typed(value: float) -> str:
    """Return a number with two digits, as a user types it.

    >>> typed(0.000013), typed(0.5), typed(44_100.0)
    ('1.3e-05', '0.5', '45000')
    """
    return typed_whole(value) if 100 <= value < 1e12 else f"{float(f'{value:.2g}'):g}"


def typed_whole(value: float) -> str:
    """Round up to a whole number of two digits and zeros.

    >>> typed_whole(6.6), typed_whole(44_100.0)
    ('7', '45000')
    """
    digits = 10 ** max(0, math.floor(math.log10(max(value, 1.0))) - 1)
    return str(math.ceil(value / digits) * digits)
