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
"""Effective draws that are wanted where neither they nor the draws are given."""
MINIBATCH = 256
"""Rows of `batch_size=auto`."""
DEFAULT_MAX_GRADIENTS = 300_000
"""Full gradients that one estimate may take where it is not given: minutes on a laptop, for small
networks."""


class _Sampler(Config):
    # Each sampler says for itself how long its warm-up is.
    warmup: NonNegativeInt | Auto
    """Steps a chain before the first kept draw."""
    nbeta: Traced[PositiveFloat | None] = None
    """Inverse temperature times n; n / log n where it is not given. Stored as the number used."""
    gamma: Traced[NonNegativeFloat] = 10.0
    """Strength of the localisation: precision of the Gaussian around w0."""
    chains: PositiveInt = 4
    draws: Draws | Auto = "auto"
    """Kept draws a chain, after warm-up and thinning; `auto` goes on until there are `ess` effective ones."""
    ess: Content[PositiveFloat | None] = None
    """Effective draws, all chains together, at which `draws=auto` ends; 200 where it is not given. Stored as
    the number used."""
    max_gradients: PositiveInt | None = None
    """Full gradients, all chains together, that `draws=auto` and `warmup=auto` may take; 300,000 where it is
    not given. Stored as the number used."""
    thinning: PositiveInt = 1
    """Steps for each kept draw."""
    seed: Content[Seed] = 0

    @property
    def is_sized(self) -> bool:
        """Whether the length of a chain is known before it is run."""
        return self.draws != "auto" and self.warmup != "auto"

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        for name, open_end in (("ess", self.draws == "auto"), ("max_gradients", not self.is_sized)):
            if getattr(self, name) is not None and not open_end:
                raise ValueError(f"{name} has no effect beside a given number of draws: set draws to auto")
        return self

    def settled(self, nbeta: float) -> Self:
        """The same sampler with a number in place of each that was left open.

        Args:
            nbeta: n / log n.
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
    """`auto` finds the longest one that adds little to λ̂, as a Metropolis correction tells."""
    min_acceptance: Traced[Probability] = 0.85
    """The least that such a correction of a step on all rows would accept, with `step_size=auto`."""
    batch_size: PositiveInt | Auto | None = "auto"
    """Rows a step, drawn with replacement; `auto` is 256, or all rows where those would be more than half of
    them. All rows where it is not given, or more than there are."""
    bias_chains: NonNegativeInt = 2
    """Extra chains of half the step's length, which measure the step-size bias."""
    dtype: Dtype = "float32"
    thinning: PositiveInt = 10
    warmup: NonNegativeInt | Auto = "auto"
    """Steps a chain before the first kept draw; `auto` takes what the slowest direction needs to forget
    w0."""

    def minibatch(self, rows: int) -> int | None:
        """Rows a step; None for all of so many."""
        size = MINIBATCH if self.batch_size == "auto" else self.batch_size
        most = rows // 2 if self.batch_size == "auto" else rows - 1
        return size if size is not None and size <= most else None

    @property
    def tunes_step_size(self) -> bool:
        """Whether the step size is found in the warm-up."""
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

    The drift is step_size/2 times the gradient, the noise has variance step_size.
    """

    kind: Literal["sgld"] = "sgld"
    preconditioner: Literal["none", "rmsprop", "adam"] = "none"
    b1: Traced[Decay] = 0.9
    """Decay of the first moment (adam)."""
    b2: Traced[Decay] = 0.99
    """Decay of the second moment (rmsprop, adam)."""
    epsilon: Traced[PositiveFloat] = 0.1
    """Added to the root of the second moment (rmsprop, adam): bounds the preconditioner by 1/epsilon."""


class SgnhtSampler(_ByStochasticGradients):
    """The stochastic gradient Nosé-Hoover thermostat; step_size is the square of a step's length in time."""

    kind: Literal["sgnht"] = "sgnht"
    batch_size: PositiveInt | Auto | None = None
    """Rows a step, drawn with replacement; all rows where it is not given. The thermostat takes up only as
    much of a minibatch's noise as is alike in all directions: with few rows, shorten the step too."""
    friction: Traced[PositiveFloat] = 5.0
    """A, to which the thermostat adds what the noise of minibatches needs. A direction that only gamma holds
    forgets fastest at 2 sqrt(gamma)."""


class HmcSampler(_Sampler):
    """Hamiltonian Monte Carlo with window-adapted step size and diagonal mass matrix."""

    kind: Literal["hmc"] = "hmc"
    num_integration_steps: PositiveInt = 64
    """The most steps of a trajectory: each has 1 to so many, uniformly."""
    target_acceptance: Traced[Probability] = 0.8
    initial_step_size: Traced[PositiveFloat] = 1e-2
    """Where the adaptation starts."""
    warmup: NonNegativeInt = 200
    dtype: Dtype = "float64"


class NutsSampler(_Sampler):
    """The no-U-turn sampler with window-adapted step size and diagonal mass matrix."""

    kind: Literal["nuts"] = "nuts"
    max_num_doublings: Annotated[int, Field(ge=1, le=12)] = 8
    target_acceptance: Traced[Probability] = 0.8
    initial_step_size: Traced[PositiveFloat] = 1e-2
    warmup: NonNegativeInt = 200
    dtype: Dtype = "float64"


class MclmcSampler(_Sampler):
    """Microcanonical Langevin Monte Carlo with tuned momentum decoherence length L and step size."""

    kind: Literal["mclmc"] = "mclmc"
    desired_energy_var: Traced[PositiveFloat] = 5e-6
    """Energy variance per dimension that the step size is tuned to; it bounds the bias."""
    max_step_size: Traced[PositiveFloat] = 1.0
    """A tuned step size above this times the square root of the dimension is cut to it."""
    warmup: NonNegativeInt = 2000
    dtype: Dtype = "float64"


StochasticSampler = SgldSampler | SgnhtSampler
"""Those whose gradients are of minibatches."""
SamplerConfig = Annotated[
    SgldSampler | SgnhtSampler | HmcSampler | NutsSampler | MclmcSampler, Field(discriminator="kind")
]


def sampler_name(sampler: SamplerConfig) -> str:
    """A sampler's kind, with its preconditioner where it has one: `hmc`, `sgld`, `sgld-rmsprop`."""
    if isinstance(sampler, SgldSampler) and sampler.preconditioner != "none":
        return f"{sampler.kind}-{sampler.preconditioner}"
    return sampler.kind
