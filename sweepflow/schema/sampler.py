"""Samplers of the localised, tempered posterior

    log p(w) = -nbeta L_n(w) - (gamma / 2) ||w - w0||^2 + const.

Shapes (chains, draws, steps, batch size, dtype) are static, every other number is traced.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sweepflow.schema.data import Seed
from sweepflow.schema.fields import Config, Content, Traced
from sweepflow.schema.target import Decay, Dtype


class _Sampler(Config):
    nbeta: Traced[PositiveFloat | None] = None
    """Inverse temperature times n; n / log n where it is not given. Stored as the number used."""
    gamma: Traced[NonNegativeFloat] = 10.0
    """Strength of the localisation: precision of the Gaussian around w0."""
    chains: PositiveInt = 4
    draws: Annotated[int, Field(ge=4)] = 500
    """Kept draws a chain, after warm-up and thinning."""
    warmup: NonNegativeInt = 500
    """Steps a chain before the first kept draw."""
    thinning: PositiveInt = 1
    """Steps for each kept draw."""
    seed: Content[Seed] = 0


class SgldSampler(_Sampler):
    """Stochastic gradient Langevin dynamics, plain or preconditioned."""

    kind: Literal["sgld"] = "sgld"
    preconditioner: Literal["none", "rmsprop", "adam"] = "none"
    step_size: Traced[PositiveFloat] = 1e-4
    """Epsilon: the drift is epsilon/2 times the gradient, the noise has variance epsilon."""
    batch_size: PositiveInt | None = 256
    """Rows a step, drawn with replacement; all rows where it is not given."""
    bias_chains: NonNegativeInt = 2
    """Extra chains at step_size / 4, which measure the step-size bias."""
    b1: Traced[Decay] = 0.9
    """Decay of the first moment (adam)."""
    b2: Traced[Decay] = 0.99
    """Decay of the second moment (rmsprop, adam)."""
    epsilon: Traced[PositiveFloat] = 0.1
    """Added to the root of the second moment (rmsprop, adam): bounds the preconditioner by 1/epsilon."""
    dtype: Dtype = "float32"
    thinning: PositiveInt = 10
    warmup: NonNegativeInt = 1000


class HmcSampler(_Sampler):
    """Hamiltonian Monte Carlo with window-adapted step size and diagonal mass matrix."""

    kind: Literal["hmc"] = "hmc"
    num_integration_steps: PositiveInt = 16
    """The most steps of a trajectory: each has 1 to so many, uniformly."""
    target_acceptance: Traced[Annotated[float, Field(gt=0, lt=1)]] = 0.8
    initial_step_size: Traced[PositiveFloat] = 1e-2
    """Where the adaptation starts."""
    draws: Annotated[int, Field(ge=4)] = 300
    warmup: NonNegativeInt = 300
    dtype: Dtype = "float64"


class NutsSampler(_Sampler):
    """The no-U-turn sampler with window-adapted step size and diagonal mass matrix."""

    kind: Literal["nuts"] = "nuts"
    max_num_doublings: Annotated[int, Field(ge=1, le=12)] = 8
    target_acceptance: Traced[Annotated[float, Field(gt=0, lt=1)]] = 0.8
    initial_step_size: Traced[PositiveFloat] = 1e-2
    draws: Annotated[int, Field(ge=4)] = 300
    warmup: NonNegativeInt = 300
    dtype: Dtype = "float64"


class MclmcSampler(_Sampler):
    """Microcanonical Langevin Monte Carlo with tuned momentum decoherence length L and step size."""

    kind: Literal["mclmc"] = "mclmc"
    desired_energy_var: Traced[PositiveFloat] = 5e-6
    """Energy variance per dimension that the step size is tuned to; it bounds the bias."""
    max_step_size: Traced[PositiveFloat] = 1.0
    """A tuned step size above this times the square root of the dimension is cut to it."""
    draws: Annotated[int, Field(ge=4)] = 1500
    warmup: NonNegativeInt = 1000
    dtype: Dtype = "float64"


SamplerConfig = Annotated[SgldSampler | HmcSampler | NutsSampler | MclmcSampler, Field(discriminator="kind")]


def sampler_name(sampler: SamplerConfig) -> str:
    """A sampler's kind, with its preconditioner where it has one: `hmc`, `sgld`, `sgld-rmsprop`."""
    if isinstance(sampler, SgldSampler) and sampler.preconditioner != "none":
        return f"{sampler.kind}-{sampler.preconditioner}"
    return sampler.kind
