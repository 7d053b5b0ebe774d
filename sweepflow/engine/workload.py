"""What a workload is to the engine: a pure function of one lane, and its inputs and outputs on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sweepflow.engine.course import Arrays, Course, Segment, segment_of_course, segment_of_lane
from sweepflow.schema.fields import Config, traced_part
from sweepflow.schema.numbers import Number
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

C = TypeVar("C", bound=Config)

LaneFunction = Callable[[Arrays, Arrays, Mapping[str, Array], PRNGKeyArray, Array], Arrays]
"""(shared inputs, own inputs, traced numbers, key, lane number) -> results of one lane.

The key is the trial's; the function folds its lane number in where a trial has several lanes.
"""
CourseFunction = Callable[[Arrays, Arrays, Mapping[str, Array], PRNGKeyArray, Array], Course]
"""The same arguments -> the lane's run, to be cut into segments."""

__all__ = ["Arrays", "CourseFunction", "Inputs", "LaneFunction", "Segmented", "Trial", "Workload"]


@dataclass(frozen=True)
class Trial(Generic[C]):
    """One workload with one configuration.

    Attributes:
        id: Its fingerprint.
        config: Everything that decides its result, with every traced field a number.
        seed: The seed its random key is made from, together with the id.
    """

    id: str
    config: C
    seed: int

    @property
    def traced(self) -> dict[str, Number]:
        """The numbers that are fed to the program, by dotted key."""
        return traced_part(self.config)


@dataclass(frozen=True)
class Inputs:
    """What a batch feeds its program beside the traced numbers.

    Attributes:
        shared: Arrays that every lane sees whole.
        own: Arrays with one leading row a trial.
    """

    shared: Mapping[str, np.ndarray] = field(default_factory=dict)
    own: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Segmented(Generic[C]):
    """How a workload's runs are cut.

    Attributes:
        points: The most points that a trial's run can have; a number that does not depend on its batch.
        course: The run of one lane, made from any configuration of the group.
        stop: (trial, its results with a leading axis of lanes, points that are done) -> the next point at
            which to ask again, or one that is done, where the run ends there. Before the first point there
            are no results, nor where a run is taken up in the middle: `done` then, and it is asked again with
            what there is. It may look at nothing but the trial's own results up to the points at which it
            asked to be asked, which it finds again from the first. All points are run where it is None.
        kept: Where a trial goes on from what another has kept: the points that are done, and the state's
            leaves with a leading axis of lanes. None where it begins at the beginning.
        keeps_state: Whether a trial's results hold the leaves of its last state too, as `state.0` and on.
    """

    points: Callable[[C], int]
    course: Callable[[C], CourseFunction]
    kept: Callable[[Trial[C], Store], tuple[int, list[np.ndarray]] | None] = field(
        default=lambda trial, store: None
    )
    keeps_state: Callable[[C], bool] = field(default=lambda config: False)
    stop: Callable[[Trial[C], Mapping[str, np.ndarray] | None, int], int] | None = None

    def lane(self, config: C) -> LaneFunction:
        """The whole run of a lane, from its beginning, as one function."""
        course, points = self.course(config), self.points(config)
        return lambda *arguments: course(*arguments).in_one_go(points)


@dataclass(frozen=True)
class Workload(Generic[C]):
    """A pure JAX function with what the engine needs around it.

    Attributes:
        name: Part of every fingerprint.
        version: Raised whenever results change; part of every fingerprint.
        program_key: Canonical text of everything that decides the compiled program, from a trial's
            configuration. Equal texts share a program.
        lanes: Lanes a trial runs (chains, say); they are spread over devices together.
        vector_width: Lanes vectorised together on a platform (`cpu`, `gpu`, ...); a constant, so that a
            trial's arithmetic does not depend on its batch.
        label: A group's name for people, from any configuration of it.
        lane: The function of one lane, made from any configuration of the group; it must depend on
            nothing but what `program_key` covers (`static_part` makes sure).
        obstacle: Why a trial cannot run at all, in words, or None where it can; one that cannot has
            failed, and takes no part in its batch.
        inputs: Loads a batch's arrays. Its second argument is how many data sets the program holds.
        record: Turns a trial's results, with a leading axis of lanes, into its record.
        segmented: How a run is cut; None where it cannot be, and is one call. `lane` is then its `lane`.
    """

    name: str
    version: int
    program_key: Callable[[C], str]
    lanes: Callable[[C], int]
    vector_width: Callable[[str], int]
    label: Callable[[C], str]
    lane: Callable[[C], LaneFunction]
    obstacle: Callable[[Trial[C], Store], str | None]
    inputs: Callable[[Sequence[Trial[C]], int, Store], Inputs]
    record: Callable[[Trial[C], Mapping[str, np.ndarray], Store], Record]
    segmented: Segmented[C] | None = None

    def segment(self, config: C) -> Segment:
        """What the program of a configuration's group is compiled from."""
        if self.segmented is None:
            return segment_of_lane(self.lane(config))
        return segment_of_course(self.segmented.course(config))

    def points(self, config: C) -> int:
        """The most points that a trial's run can have; 1 where it cannot be cut."""
        return 1 if self.segmented is None else self.segmented.points(config)

    def stop(self, trial: Trial[C], results: Mapping[str, np.ndarray] | None, done: int) -> int:
        """The next point at which to ask again; `done` or less where the run ends. See `Segmented.stop`."""
        if self.segmented is None or self.segmented.stop is None:
            return self.points(trial.config)
        return self.segmented.stop(trial, results, done)
