"""Constructors of distributions for Python, with the same names as in YAML.

    from sweepflow.space import Space, categorical, log_uniform, uniform

    Space(parameters={
        "optimizer": categorical(["sgd", "adam"]),
        "learning_rate": log_uniform(1e-4, 1e-1),
        "momentum": uniform(0.5, 0.99, when={"optimizer": "sgd"}),
    })

Each constructor raises ConfigError for arguments that give no valid distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweepflow.space.choices import Categorical, Constant, Joint
from sweepflow.space.continuous import LogNormal, LogUniform, Normal, TruncatedNormal, Uniform
from sweepflow.space.discrete import IntUniform, LogIntUniform, Numeric, Quantized
from sweepflow.space.parse import build

When = str | Mapping[str, Any] | None


def uniform(low: float, high: float, *, when: When = None) -> Uniform:
    """x ~ U[low, high]."""
    return build(Uniform, low=low, high=high, when=when)


def log_uniform(low: float, high: float, *, when: When = None) -> LogUniform:
    """log x ~ U[log low, log high]; low > 0."""
    return build(LogUniform, low=low, high=high, when=when)


def normal(mean: float, sd: float, *, when: When = None) -> Normal:
    """x ~ N(mean, sd²)."""
    return build(Normal, mean=mean, sd=sd, when=when)


def log_normal(mean: float, sd: float, *, when: When = None) -> LogNormal:
    """log x ~ N(mean, sd²), natural logarithm."""
    return build(LogNormal, mean=mean, sd=sd, when=when)


def truncated_normal(
    mean: float, sd: float, low: float | None = None, high: float | None = None, *, when: When = None
) -> TruncatedNormal:
    """x ~ N(mean, sd²) given low <= x <= high."""
    return build(TruncatedNormal, mean=mean, sd=sd, low=low, high=high, when=when)


def int_uniform(low: int, high: int, *, when: When = None) -> IntUniform:
    """Integers from low to high, both included, equally often."""
    return build(IntUniform, low=low, high=high, when=when)


def log_int_uniform(low: int, high: int, *, when: When = None) -> LogIntUniform:
    """Integers from low to high, both included, k about as often as 1/k."""
    return build(LogIntUniform, low=low, high=high, when=when)


def quantized(of: Numeric, step: float, *, when: When = None) -> Quantized:
    """A numeric distribution rounded to multiples of a step within its bounds."""
    return build(Quantized, of=of, step=step, when=when)


def categorical(
    values: Sequence[Any], weights: Sequence[float] | None = None, *, when: When = None
) -> Categorical:
    """One of `values`; `weights` are probabilities."""
    return build(Categorical, values=values, weights=weights, when=when)


def constant(value: Any, *, when: When = None) -> Constant:
    """Always the same value."""
    return build(Constant, value=value, when=when)


def joint(
    choices: Sequence[Mapping[str, Any]], weights: Sequence[float] | None = None, *, when: When = None
) -> Joint:
    """Several keys drawn as one: each choice maps dotted keys to values."""
    return build(Joint, choices=choices, weights=weights, when=when)
