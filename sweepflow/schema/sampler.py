"""Samplers of the localised, tempered posterior

    log p(w) = -nbeta L_n(w) - (gamma / 2) ||w - w0||^2 + const.

Shapes (chains, draws, steps, batch size, dtype) are static, every other number is traced.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sweepflow.schema.data import Seed
from sweepflow.schema.fields import Config, Content, Traced
from sweepflow.schema.target import Decay, Dtype

Auto = Literal["auto"]
Probability = Annotated[float, Field(gt=0, lt=1)]
Draws = Annotated[int, Field(ge=4)]

DEFAULT_ESS = 200.0
"""Effective draws to reach if neither their number nor the number of draws is given."""
MINIBATCH = 256
"""Rows of `batch_size=auto`."""
DEFAULT_MAX_GRADIENTS = 300_000
"""Full gradients that one estimate may take if their number is not given: minutes on a laptop, for small
networks."""


class _Sampler(Config):
    # Each sampler says for itself how long its warm-up is.
    warmup: NonNegativeInt | Auto
    """Steps of each chain before the first kept draw."""
    nbeta: Traced[PositiveFloat | None] = None
    """Inverse temperature times n; n / log n if it is not given. Stored as the number used."""
    gamma: Traced[NonNegativeFloat] = 10.0
    """Strength of the localisation: precision of the Gaussian around w0."""
    chains: PositiveInt = 4
    """Number of chains, all started at w0."""
    draws: Draws | Auto = "auto"
    """Kept draws of each chain, after warm-up and thinning; `auto` continues until there are `ess` effective
    draws."""
    ess: Content[PositiveFloat | None] = None
    """Effective draws, all chains together, at which `draws=auto` ends; 200 if it is not given. Stored as the
    number used."""
    max_gradients: PositiveInt | None = None
    """Full gradients, all chains together, that `draws=auto` and `warmup=auto` may take; 300,000 if it is not
    given. Stored as the number used."""
    thinning: PositiveInt = 1
    """Steps for each kept draw."""
    seed: Content[Seed] = 0
    """Seed of the chains."""

    @property
    def is_sized(self) -> bool:
        """True if the length of a chain is known before the chain runs."""
        return self.draws != "auto" and self.warmup != "auto"

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        for name, open_end in (("ess", self.draws == "auto"), ("max_gradients", not self.is_sized)):
            if getattr(self, name) is not None and not open_end:
                raise ValueError(f"{name} has no effect beside a given number of draws: set draws to auto")
        return self

    def settled(self, nbeta: float) -> Self:
        """A copy of the sampler with a number in place of each setting that was left open.

        Args:
            nbeta: n / log n, used if the sampler has no `nbeta`.
        """
        return self.model_copy(
            update={
                "nbeta": self.nbeta or nbeta,
                "ess": self.ess or (DEFAULT_ESS if self.draws == "auto" else None),
                "max_gradients": self.max_gradients or (None if self.is_sized else DEFAULT_MAX_GRADIENTS),
            }
        )


class _ByStochasticGradients(_Sampler):
    step_size: Traced[PositiveFloat | Auto] = "auto"
    """Step size; `auto` finds the longest one that adds little to λ̂, measured by a Metropolis correction."""
    min_acceptance: Traced[Probability] = 0.85
    """Minimum acceptance that a Metropolis correction of a step on all rows would have, with
    `step_size=auto`."""
    batch_size: PositiveInt | Auto | None = "auto"
    """Rows of each step, drawn with replacement; `auto` is 256, or all rows if 256 is more than half of them.
    All rows if it is not given, or if it is larger than their number."""
    bias_chains: NonNegativeInt = 2
    """Extra chains with half the step size, which measure the step-size bias."""
    dtype: Dtype = "float32"
    """Type of the numbers that the program computes with."""
    thinning: PositiveInt = 10
    """Steps for each kept draw."""
    warmup: NonNegativeInt | Auto = "auto"
    """Steps of each chain before the first kept draw; `auto` takes the number that the slowest direction
    needs to forget w0."""

    def minibatch(self, rows: int) -> int | None:
        """Rows of each step, for `rows` rows in total; None if a step uses all rows."""
        size = MINIBATCH if self.batch_size == "auto" else self.batch_size
        most = rows // 2 if self.batch_size == "auto" else rows - 1
        return size if size is not None and size <= most else None

    @property
    def tunes_step_size(self) -> bool:
        """True if the step size is found in the warm-up."""
        # A static part has the field only where it is `auto`.
        return getattr(self, "step_size", None) == "auto"

    @model_validator(mode="after")
    def _check_tuning(self) -> Self:
        if self.tunes_step_size and self.warmup != "auto" and self.warmup < 2 * self.thinning:
            raise ValueError(
                f"a warm-up of {self.warmup} steps is too short to find step_size=auto in: "
                f"set warmup to auto, or to {100 * self.thinning} or more"
            )
        return self


class SgldSampler(_ByStochasticGradients):
    """Stochastic gradient Langevin dynamics, plain or preconditioned.

    The drift is step_size/2 times the gradient; the noise has variance step_size.
    """

    kind: Literal["sgld"] = "sgld"
    preconditioner: Literal["none", "rmsprop", "adam"] = "none"
    """Preconditioner of the steps, made from moments of the gradient."""
    b1: Traced[Decay] = 0.9
    """Decay of the first moment (adam)."""
    b2: Traced[Decay] = 0.99
    """Decay of the second moment (rmsprop, adam)."""
    epsilon: Traced[PositiveFloat] = 0.1
    """Constant added to the root of the second moment (rmsprop, adam); it bounds the preconditioner by
    1/epsilon."""


class SgnhtSampler(_ByStochasticGradients):
    """The stochastic gradient Nosé-Hoover thermostat; step_size is the square of a step's length in time."""

    kind: Literal["sgnht"] = "sgnht"
    batch_size: PositiveInt | Auto | None = None
    """Rows of each step, drawn with replacement; all rows if it is not given. The thermostat absorbs only the
    part of a minibatch's noise that is equal in all directions: with few rows, shorten the step too."""
    friction: Traced[PositiveFloat] = 5.0
    """The friction A; the thermostat adds to it the friction that the noise of minibatches needs. A direction
    that only gamma confines forgets fastest at 2 sqrt(gamma)."""


class HmcSampler(_Sampler):
    """Hamiltonian Monte Carlo with window-adapted step size and diagonal mass matrix."""

    kind: Literal["hmc"] = "hmc"
    num_integration_steps: PositiveInt = 64
    """Maximum number of steps of a trajectory; each trajectory has 1 to this many steps, drawn uniformly."""
    target_acceptance: Traced[Probability] = 0.8
    """Acceptance that the step size is tuned to."""
    initial_step_size: Traced[PositiveFloat] = 1e-2
    """Step size at which the adaptation starts."""
    warmup: NonNegativeInt = 200
    """Steps of each chain before the first kept draw, in which the sampler is tuned."""
    dtype: Dtype = "float64"
    """Type of the numbers that the program computes with."""


class NutsSampler(_Sampler):
    """The no-U-turn sampler with window-adapted step size and diagonal mass matrix."""

    kind: Literal["nuts"] = "nuts"
    max_num_doublings: Annotated[int, Field(ge=1, le=12)] = 8
    """Maximum number of doublings of a trajectory: at most 2 to this power steps."""
    target_acceptance: Traced[Probability] = 0.8
    """Acceptance that the step size is tuned to."""
    initial_step_size: Traced[PositiveFloat] = 1e-2
    """Step size at which the adaptation starts."""
    warmup: NonNegativeInt = 200
    """Steps of each chain before the first kept draw, in which the sampler is tuned."""
    dtype: Dtype = "float64"
    """Type of the numbers that the program computes with."""


class MclmcSampler(_Sampler):
    """Microcanonical Langevin Monte Carlo with tuned momentum decoherence length L and step size."""

    kind: Literal["mclmc"] = "mclmc"
    desired_energy_var: Traced[PositiveFloat] = 5e-6
    """Energy variance per dimension that the step size is tuned to; it bounds the bias."""
    max_step_size: Traced[PositiveFloat] = 1.0
    """Bound of the tuned step size, which is cut to this value times the square root of the dimension."""
    warmup: NonNegativeInt = 2000
    """Steps of each chain before the first kept draw, in which the sampler is tuned."""
    dtype: Dtype = "float64"
    """Type of the numbers that the program computes with."""


StochasticSampler = SgldSampler | SgnhtSampler
"""Samplers that use gradients of minibatches."""
SamplerConfig = Annotated[
    SgldSampler | SgnhtSampler | HmcSampler | NutsSampler | MclmcSampler, Field(discriminator="kind")
]


def sampler_name(sampler: SamplerConfig) -> str:
    """The sampler's kind, with its preconditioner if it has one: `hmc`, `sgld`, `sgld-rmsprop`."""
    if isinstance(sampler, SgldSampler) and sampler.preconditioner != "none":
        return f"{sampler.kind}-{sampler.preconditioner}"
    return sampler.kind
