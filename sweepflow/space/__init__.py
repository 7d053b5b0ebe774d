"""Search spaces: distributions over dotted keys, even designs drawn from them, constraints, tables."""

from sweepflow.space.constructors import (
    categorical,
    constant,
    int_uniform,
    joint,
    log_int_uniform,
    log_normal,
    log_uniform,
    normal,
    quantized,
    truncated_normal,
    uniform,
)
from sweepflow.space.distribution import Distribution
from sweepflow.space.overrides import distribution_of
from sweepflow.space.space import METHODS, Design, EmptyDesignError, Method, Space
from sweepflow.space.table import read_table, write_table

__all__ = [
    "METHODS",
    "Design",
    "Distribution",
    "EmptyDesignError",
    "Method",
    "Space",
    "categorical",
    "constant",
    "distribution_of",
    "int_uniform",
    "joint",
    "log_int_uniform",
    "log_normal",
    "log_uniform",
    "normal",
    "quantized",
    "read_table",
    "truncated_normal",
    "uniform",
    "write_table",
]
