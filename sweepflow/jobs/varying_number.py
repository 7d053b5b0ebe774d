"""A number that differs among jobs which share one call of their function.

Python's arithmetic with the number is done job by job, exactly as without it. JAX gets the number as an array
with one lane per job. If Python needs a single value (`if`, `float`, text) and the jobs differ, an error is
raised.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

EXACT = 2**24
"""Whole numbers up to this limit are exact in float32."""
OF_JAX = ("aval", "dtype", "ndim", "shape", "weak_type")
"""Attributes that JAX asks of a number, and that Python's numbers do not have."""
TREES = ("jax._src.tree", "jax._src.tree_util")
"""Modules of `jax.tree`."""
CARRIERS = ("jax", "omegaconf", "hydra")
"""Packages that treat the number in the same way, whatever its type is."""


class DiffersError(Exception):
    """A single value is needed, but the number has several."""


class OneCall:
    """One call of a function for several jobs.

    Attributes:
        lane: Traced index of the job.
        refused: Questions that have no single answer, in words. If there are any, the call cannot be used,
            even if the function has caught the exception.
    """

    def __init__(self) -> None:
        self.lane: Any = None
        self.refused: list[str] = []

    def refuse(self, use: str) -> DiffersError:
        """Note a use that has no single answer, and return the exception for it."""
        self.refused.append(use)
        return DiffersError(use)

    @property
    def hydra(self) -> Any:
        """Replacement of Hydra's configuration of one job; access is refused."""
        raise self.refuse("HydraConfig is asked for one job's configuration")


IN_HAND: ContextVar[OneCall | None] = ContextVar("in_hand", default=None)
"""The call that a thread is running."""
_text = jax.core.Tracer.__repr__


def _text_of_one(tracer: Any) -> str:
    """Return JAX's own text of a traced array. Refuse in a call for several jobs, where each has another
    text."""
    if (call := IN_HAND.get()) is not None:
        raise call.refuse("text is made of an array")
    return _text(tracer)


jax.core.Tracer.__repr__ = _text_of_one  # type: ignore[method-assign]  # nothing else is asked for its text


class VaryingNumber:
    """A number that differs among jobs; see the module.

    Args:
        values: One value per job.
        call: The call that they share.
    """

    __slots__ = ("_call", "_values")

    def __init__(self, values: Sequence[Any], call: OneCall) -> None:
        self._values, self._call = values, call

    def of_each_job(self) -> Sequence[Any]:
        """Return one value per job."""
        return self._values

    def _one(self, use: str) -> Any:
        """Return the value if it is the same in all jobs, so that the code that follows is right for each."""
        first = self._values[0]
        if isinstance(first, (bool, int, float, complex, np.generic)):
            text = repr(first)
            if all(type(value) is type(first) and repr(value) == text for value in self._values):
                return first
        raise self._call.refuse(use)

    # --- Python's arithmetic, job by job --------------------------------------------------------------------

    def _each(self, function: Callable[..., Any], *given: Any) -> Any:
        if any(isinstance(one, jax.Array) for one in given):
            return function(*[one.__jax_array__() if type(one) is VaryingNumber else one for one in given])
        columns = [one._values if type(one) is VaryingNumber else [one] * len(self._values) for one in given]
        return VaryingNumber([function(*row) for row in zip(*columns, strict=True)], self._call)

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **settings: Any) -> Any:
        if method != "__call__" or settings:
            return NotImplemented
        return self._each(ufunc, *given)

    # --- What needs one value -------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self._one("`if`, `and`, `or` or `not` looks at it"))

    def __float__(self) -> float:
        return float(self._one("float() is taken of it"))

    def __int__(self) -> int:
        return int(self._one("int() is taken of it"))

    def __complex__(self) -> complex:
        return complex(self._one("complex() is taken of it"))

    def __index__(self) -> int:
        return operator.index(self._one("it is a length, or an index"))

    def __hash__(self) -> int:
        return hash(self._one("it is a key of a dictionary, or an argument that is static"))

    def __repr__(self) -> str:
        return repr(self._one("text is made of it"))

    def __str__(self) -> str:
        return str(self._one("text is made of it"))

    def __format__(self, specification: str) -> str:
        return format(self._one("text is made of it"), specification)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._one("an array of NumPy's is made of it"), dtype)

    def __reduce__(self) -> Any:
        raise self._call.refuse("it is pickled")

    def __copy__(self) -> VaryingNumber:
        return self

    def __deepcopy__(self, memo: Any) -> VaryingNumber:
        return self

    # --- What it is -----------------------------------------------------------------------------------------

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """Type of each job's value, for `isinstance`; `VaryingNumber` for packages that only pass it on."""
        if _asked_by(*CARRIERS):
            return VaryingNumber
        kinds = {type(value) for value in self._values}
        if len(kinds) > 1:
            raise self._call.refuse("its type is asked for, which differs")
        return kinds.pop()

    def __getattr__(self, name: str) -> Any:
        if name in OF_JAX and _asked_by("jax"):
            return getattr(self.__jax_array__(), name)
        raise AttributeError(f"a number that differs among jobs has no attribute {name!r}")

    def __jax_array__(self) -> Any:
        return self._lanes()[self._call.lane]

    def _lanes(self) -> Any:
        kinds = {type(value) for value in self._values}
        if kinds == {int, float} and all(abs(v) <= EXACT for v in self._values if type(v) is int):
            kinds = {float}
        if len(kinds) > 1:
            raise self._call.refuse("JAX is given it, and its type differs")
        (kind,) = kinds
        if kind not in (int, float, complex):
            arrays = [np.asarray(value) for value in self._values]
            if len({(array.shape, array.dtype) for array in arrays}) > 1:
                raise self._call.refuse("JAX is given it, and its shape differs")
            return jnp.asarray(np.stack(arrays))
        # As JAX takes a number of Python's: it gives way to the dtype of an array.
        zeros = jnp.broadcast_to(jnp.asarray(kind(0)), len(self._values))
        with np.errstate(over="ignore"):  # what is too large is infinite, in a job of its own, too
            return zeros.at[:].set(np.asarray(self._values, zeros.dtype))


def _asked_by(*packages: str) -> bool:
    """Return whether one of these packages asks, directly or through abstract classes of the standard
    library."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("abc", "_py_abc", "typing"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).partition(".")[0] in packages


def _binary(
    function: Callable[[Any, Any], Any], *, turned: bool = False
) -> Callable[[VaryingNumber, Any], Any]:
    def apply(self: VaryingNumber, other: Any) -> Any:
        number = type(other) is VaryingNumber or isinstance(
            other, (bool, int, float, complex, np.generic, np.ndarray)
        )
        if not (number or isinstance(other, jax.Array)):
            return NotImplemented  # and so Python says what it says of its own numbers
        return self._each(function, other, self) if turned else self._each(function, self, other)

    return apply


def _unary(function: Any) -> Callable[..., Any]:
    return lambda self, *more: self._each(lambda value: function(value, *more), self)


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
):
    _function = getattr(operator, f"__{_name}__")
    setattr(VaryingNumber, f"__{_name}__", _binary(_function))
    setattr(VaryingNumber, f"__r{_name}__", _binary(_function, turned=True))
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(VaryingNumber, f"__{_name}__", _binary(getattr(operator, f"__{_name}__")))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(VaryingNumber, f"__{_name}__", _unary(getattr(operator, f"__{_name}__")))
for _name, _function in {"round": round, "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc}.items():
    setattr(VaryingNumber, f"__{_name}__", _unary(_function))


def _flatten(number: VaryingNumber) -> tuple[tuple[Any], None]:
    """Return the number's array in a function that JAX traces. Refuse in the user's own `jax.tree.map`, where
    each job's value has to stay a Python number, with its type and all of its digits."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in TREES:
        frame = frame.f_back
    of_trees = frame is not sys._getframe(1)
    if of_trees and str(frame.f_globals.get("__name__")).partition(".")[0] != "jax":
        raise number._call.refuse("jax.tree takes a structure apart that holds it")
    return (number.__jax_array__(),), None


jax.tree_util.register_pytree_node(VaryingNumber, _flatten, lambda _, array: array[0])
