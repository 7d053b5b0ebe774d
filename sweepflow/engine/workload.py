"""A workload as the engine sees it: a pure function of one lane, and its inputs and outputs on the host."""

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

The key is that of the trial; the function folds the lane number into it if a trial has several lanes.
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
        seed: The seed from which its random key is made, together with the id.
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
    """The inputs of a batch's program beside the traced numbers.

    Attributes:
        shared: Arrays that every lane sees as a whole.
        own: Arrays with one leading row for each trial.
    """

    shared: Mapping[str, np.ndarray] = field(default_factory=dict)
    own: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Segmented(Generic[C]):
    """The rules by which a workload's runs are cut.

    Attributes:
        points: Maximum number of points of a trial's run; it does not depend on the trial's batch.
        course: The run of one lane, made from any configuration of the group.
        stop: (trial, its results with a leading axis of lanes, number of points that are done) -> the next
            point at which to ask again, or a point that is done if the run ends there. There are no results
            before the first point, and none when a run is taken up in the middle; it then returns `done`, and
            is asked again with the existing results. It may use only the trial's own results up to the points
            at which it wanted to be asked; it finds these points again from the first one. If it is None, all
            points are run.
        kept: Start of a trial that continues from the kept state of another trial: the number of points that
            are done, and the state's leaves with a leading axis of lanes. None if the trial starts from the
            beginning.
        keeps_state: Whether a trial's results also hold the leaves of its last state, as `state.0` and so on.
    """

    points: Callable[[C], int]
    course: Callable[[C], CourseFunction]
    kept: Callable[[Trial[C], Store], tuple[int, list[np.ndarray]] | None] = field(
        default=lambda trial, store: None
    )
    keeps_state: Callable[[C], bool] = field(default=lambda config: False)
    stop: Callable[[Trial[C], Mapping[str, np.ndarray] | None, int], int] | None = None

    def lane(self, config: C) -> LaneFunction:
        """Return the whole run of a lane, from its beginning, as one function."""
        course, points = self.course(config), self.points(config)
        return lambda *arguments: course(*arguments).in_one_go(points)


@dataclass(frozen=True)
class Workload(Generic[C]):
    """A pure JAX function, with all that the engine needs to run it.

    Attributes:
        name: Part of every fingerprint.
        version: Increased whenever results change; part of every fingerprint.
        program_key: Canonical text of everything that decides the compiled program, from a trial's
            configuration. Equal texts share a program.
        lanes: Number of lanes that a trial runs (for example chains); they are spread over devices together.
        vector_width: Number of lanes that are vectorised together on a platform (`cpu`, `gpu`, ...); a
            constant, so that a trial's arithmetic does not depend on its batch.
        label: Human-readable name of a group, from any configuration of it.
        lane: The function of one lane, made from any configuration of the group; it must depend only on what
            `program_key` covers (`static_part` ensures this).
        obstacle: Reason, in words, why a trial cannot run at all; None if it can. A trial that cannot run has
            failed, and takes no part in its batch.
        inputs: Loads a batch's arrays. Its second argument is the number of data sets that the program holds.
        record: Turns a trial's results, with a leading axis of lanes, into its record.
        segmented: Rules by which a run is cut; None if a run cannot be cut and is one call. If given, `lane`
            is its `lane`.
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
        """Return the functions that the program of a configuration's group is compiled from."""
        if self.segmented is None:
            return segment_of_lane(self.lane(config))
        return segment_of_course(self.segmented.course(config))

    def points(self, config: C) -> int:
        """Return the maximum number of points of a trial's run; 1 if the run cannot be cut."""
        return 1 if self.segmented is None else self.segmented.points(config)

    def stop(self, trial: Trial[C], results: Mapping[str, np.ndarray] | None, done: int) -> int:
        """Return the next point at which to ask again; `done` or less if the run ends. See
        `Segmented.stop`."""
        if self.segmented is None or self.segmented.stop is None:
            return self.points(trial.config)
        return self.segmented.stop(trial, results, done)
