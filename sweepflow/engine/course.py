"""One lane's computation, in parts that can be cut: begin, advance from point to point, and finish.

A workload counts its progress in points (draws, checks, epochs). Its state after a point is all that the
later points need. The work of a point depends only on the point's number and the state, never on the place
where the run was cut. So a run can stop after any point and continue in another process, and the result is
the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

Arrays = Mapping[str, Any]
State = Any
"""A tree of arrays whose shapes and dtypes do not change."""
LaneArguments = tuple[Arrays, Arrays, Mapping[str, Array], PRNGKeyArray, Array]
"""Shared inputs, own inputs, traced numbers, key, lane number."""


def rounded(traced: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
    """Return a lane's traced numbers as it computes with them: floats are rounded to a type, all others stay
    as they are.

    Args:
        traced: Numbers as the engine passes them: bool, int32 or float64 scalars.
        dtype: Type of the floats.
    """
    fractions = {name for name, value in traced.items() if jnp.issubdtype(value.dtype, jnp.floating)}
    return {name: value.astype(dtype) if name in fractions else value for name, value in traced.items()}


class Course(NamedTuple):
    """The functions of one lane.

    Attributes:
        begin: Returns the state before the first point.
        advance: Returns the state after points `start` to `stop - 1`, from the state before them. Both
            numbers are int32 scalars and the same for all lanes.
        finish: Returns the results, from the state after the last point.
    """

    begin: Callable[[], State]
    advance: Callable[[State, Int[Array, ""], Int[Array, ""]], State]
    finish: Callable[[State], Any]

    def in_one_go(self, points: int) -> Any:
        """Return the results of the whole run, without a cut."""
        start, stop = jnp.asarray(0, jnp.int32), jnp.asarray(points, jnp.int32)
        return self.finish(self.advance(self.begin(), start, stop))


class Segment(NamedTuple):
    """The functions that a program is compiled from.

    Attributes:
        begin: Returns the state before the first point; only its shapes are used.
        run: (arguments of a lane, state, span) -> (state, results). The span is int32 (3,), called start,
            stop and end. Points `start` to `stop - 1` are run, and results are computed if `stop` equals
            `end`.
    """

    begin: Callable[..., State]
    run: Callable[[LaneArguments, State, Int[Array, " 3"]], tuple[State, Arrays]]


def segment_of_course(course: Callable[..., Course]) -> Segment:
    """Return the one function that every call of a workload's program runs, from the first call to the last.

    The span is not batched, so each condition stays a condition: the code that begins or finishes a run is
    not executed in the calls between.
    """

    def run(arguments: LaneArguments, state: State, span: Int[Array, " 3"]) -> tuple[State, Arrays]:
        one = course(*arguments)
        state = jax.lax.cond(span[0] == 0, lambda _: one.begin(), lambda old: old, state)
        state = one.advance(state, span[0], span[1])
        like = jax.eval_shape(one.finish, state)

        def unfinished(_: State) -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)

        return state, jax.lax.cond(span[1] == span[2], one.finish, unfinished, state)

    return Segment(lambda *arguments: course(*arguments).begin(), run)


def segment_of_lane(lane: Callable[..., Arrays]) -> Segment:
    """Return a function that cannot be cut, as a run of one point without a state."""
    return Segment(lambda *_: (), lambda arguments, state, _: (state, lane(*arguments)))
