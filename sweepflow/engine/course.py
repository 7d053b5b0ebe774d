"""One lane's computation as it can be cut: begun, advanced from point to point, and finished.

A workload counts its progress in points (draws, checks, epochs). Its state after a point is all that the
points after it need, and what a point does depends on its number and the state alone, never on where the
run was cut. So a run can stop after any point, and go on in another process, to the same last bit.
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
    """A lane's traced numbers as it computes with them: fractions to the nearest of a type, all others as
    they are.

    Args:
        traced: As the engine feeds them: bool, int32 or float64 scalars.
        dtype: Of fractions.
    """
    fractions = {name for name, value in traced.items() if jnp.issubdtype(value.dtype, jnp.floating)}
    return {name: value.astype(dtype) if name in fractions else value for name, value in traced.items()}


class Course(NamedTuple):
    """The functions of one lane.

    Attributes:
        begin: The state before the first point.
        advance: The state after points `start` to `stop - 1`, from that before them; both int32 scalars
            that are the same for all lanes.
        finish: The results, from the state after the last point.
    """

    begin: Callable[[], State]
    advance: Callable[[State, Int[Array, ""], Int[Array, ""]], State]
    finish: Callable[[State], Any]

    def in_one_go(self, points: int) -> Any:
        """The results of the whole run, uncut."""
        start, stop = jnp.asarray(0, jnp.int32), jnp.asarray(points, jnp.int32)
        return self.finish(self.advance(self.begin(), start, stop))


class Segment(NamedTuple):
    """What a program is compiled from.

    Attributes:
        begin: The state before the first point; only its shapes are asked for.
        run: (arguments of a lane, state, span) -> (state, results). The span is int32 (3,): points from
            the first to before the second are run, and results are made where that is the third.
    """

    begin: Callable[..., State]
    run: Callable[[LaneArguments, State, Int[Array, " 3"]], tuple[State, Arrays]]


def segment_of_course(course: Callable[..., Course]) -> Segment:
    """The one function that every call of a workload's program runs, from the first to the last.

    The span is not batched, so each condition stays one: what begins or finishes a run is not computed in
    the calls between.
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
    """A function that cannot be cut, as a run of one point without a state."""
    return Segment(lambda *_: (), lambda arguments, state, _: (state, lane(*arguments)))
