"""The figures that a user's function returns, found by tracing it: before any work, with complete errors."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sweepflow.engine.datasets import ROW
from sweepflow.engine.workload import Arrays, LaneFunction
from sweepflow.errors import ConfigError, SweepflowError, in_words
from sweepflow.schema.fields import Config, traced_part
from sweepflow.schema.numbers import type_of


def traced_figures(config: Config, lane: LaneFunction, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the names of the scalars that a lane returns, found by tracing the lane.

    Args:
        config: Configuration that the lane was made from.
        lane: Function of one lane.
        arrays: Arrays from the module's `inputs` for the configuration; only shapes and dtypes matter.

    Raises:
        ConfigError: if the lane returns no scalar.
        Exception: any exception of the user's function; see `user_code`.
    """

    def one(shared: Arrays, own: Arrays, traced: Mapping[str, Array], key: Array, number: Array) -> Arrays:
        return lane(shared, own, traced, jax.random.wrap_key_data(key), number)

    results = jax.eval_shape(
        one,
        {name: jax.ShapeDtypeStruct((1, *value.shape), value.dtype) for name, value in arrays.items()},
        {ROW: jax.ShapeDtypeStruct((), jnp.int32)},
        {name: jax.ShapeDtypeStruct((), type_of(value)) for name, value in traced_part(config).items()},
        jax.ShapeDtypeStruct((2,), jnp.uint32),
        jax.ShapeDtypeStruct((), jnp.int32),
    )
    found = tuple(name for name, value in results.items() if value.ndim == 0)
    if not found:
        raise ConfigError(
            f"run() of {type(config).__module__} returns no figure that a trial could be judged by",
            got=", ".join(f"{name} of shape {value.shape}" for name, value in results.items()),
            allowed="at least one scalar",
            do="return a number beside the curves, such as the last value of one",
        )
    return found


@contextmanager
def user_code(function: str, module: ModuleType) -> Iterator[None]:
    """Show any exception of a user's function with the line that raised it.

    Raises:
        ConfigError: in place of an exception that is raised inside; sweepflow's own errors pass unchanged.
    """
    try:
        yield
    except SweepflowError:
        raise
    except Exception as error:  # a user's function may raise anything
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == module.__file__]
        place = f"{module.__file__}, line {frames[-1].lineno}: {frames[-1].line}: " if frames else ""
        raise ConfigError(
            f"{function}() of {module.__name__} raises",
            got=f"{place}{in_words(error)}",
            allowed="a pure JAX function, in which traced fields are arrays and Content and Location fields "
            "cannot be read"
            if function == "run"
            else "a function of the configuration, in which traced fields cannot be read",
            do="mend that line" if frames else "mend it; every result of run() is a number or an array",
        ) from error
