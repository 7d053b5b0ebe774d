"""A group's compiled program: lanes spread over devices, vectorised in slices that fit the cache."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from sweepflow.engine.course import Segment

Leaves = list[Any]
"""A state's leaves."""


@dataclass(frozen=True)
class Placed:
    """A run's arguments on the devices.

    Attributes:
        arguments: Arrays, in the order of the compiled program's parameters.
        slices: Number of slices that each device runs; the slices after them hold padding.
    """

    arguments: tuple[Any, ...]
    slices: int


@dataclass(frozen=True)
class Layout:
    """The layout of the lanes of a batch.

    Attributes:
        devices: Number of devices used.
        slices: Number of slices that each device runs one after the other.
        width: Number of lanes that are vectorised together in a slice.
    """

    devices: int
    slices: int
    width: int

    @property
    def lanes(self) -> int:
        """Number of lanes that are run, including padding."""
        return self.devices * self.slices * self.width

    def used_slices(self, lanes: int) -> int:
        """Return the number of slices of each device that this number of lanes fills."""
        return math.ceil(lanes / (self.devices * self.width))

    def rows(self, lanes: int) -> np.ndarray:
        """Return the row of each lane, (lanes,): the first slices of each device are filled, and no other
        slice is run."""
        rows = np.arange(self.lanes).reshape(self.devices, self.slices, self.width)
        return rows[:, : self.used_slices(lanes)].reshape(-1)[:lanes]

    def lane_of_rows(self, lanes: int) -> np.ndarray:
        """Return the lane that each row holds, (rows,).

        Padding repeats the last lane: its numbers are valid, and it is never slower than a real lane.
        """
        held = np.full(self.lanes, lanes - 1)
        held[self.rows(lanes)] = np.arange(lanes)
        return held


def layout(lanes: int, devices: int, width: int) -> Layout:
    """Spread lanes over devices, in slices of exactly `width`.

    The width does not depend on the number of lanes. So every lane goes through the same arithmetic in every
    batch, and its result is the same to the last bit. This matters because training and HMC have chaotic
    dynamics, which would turn a difference in rounding into a different result. For the same reason, two
    devices are used even for a single slice: XLA compiles a program for one device differently from a program
    for several devices, and for several devices always in the same way.
    """
    slices = math.ceil(lanes / width)
    each = math.ceil(slices / min(devices, slices))
    used = max(math.ceil(slices / each), min(2, devices))
    return Layout(devices=used, slices=each, width=width)


def call_lanes(width: int) -> int:
    """Return the number of lanes of a call with one slice on every device; fewer lanes cost the same."""
    return max(2, jax.local_device_count()) * width


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled group.

    Attributes:
        layout: Lanes and devices that it was compiled for.
        compiled: The executable.
        seconds: Time that tracing and compiling took.
        bytes_each: Arguments, results and temporaries of one call on one of its devices, in bytes.
        sharded, replicated: Placement of arrays with one row for each lane, and of arrays that every lane
            sees.
        state: Shapes and dtypes of the leaves of the state, with one row for each lane.
    """

    layout: Layout
    compiled: Callable[..., Any]
    seconds: float
    bytes_each: int
    sharded: NamedSharding
    replicated: NamedSharding
    state: tuple[jax.ShapeDtypeStruct, ...]

    def place(
        self, shared: Any, own: Any, traced: Any, keys: np.ndarray, lanes: np.ndarray, used: int | None = None
    ) -> Placed:
        """Put a run's arguments on the devices.

        Args:
            shared: Arrays that every lane sees.
            own, traced, keys, lanes: Arrays with `layout.lanes` leading rows.
            used: Number of lanes that are not padding, in the rows that `layout.rows` gives; all if not
                given.
        """
        placed = [jax.device_put(part, self.sharded) for part in (own, traced, keys, lanes)]
        slices = self.layout.slices if used is None else self.layout.used_slices(used)
        return Placed((jax.device_put(shared, self.replicated), *placed), slices)

    def place_state(self, leaves: Sequence[np.ndarray] | None) -> Leaves:
        """Put a state on the devices, from leaves with one row for each lane.

        The leaves are None at the beginning, where no value of the state is read.
        """
        if leaves is None:
            placed = [np.zeros(like.shape, like.dtype) for like in self.state]
        else:
            placed = [leaf[self.layout.lane_of_rows(len(leaf))] for leaf in leaves]
        return [jax.device_put(leaf, self.sharded) for leaf in placed]

    def __call__(self, placed: Placed, state: Leaves, span: tuple[int, int, int]) -> tuple[Leaves, Any]:
        """Run points `span[0]` to `span[1] - 1`, and wait for the end of the call.

        The results are those of a whole run only if `span[1]` has reached `span[2]`. State and results stay
        on the devices.
        """
        numbers = (np.array(span, np.int32), np.array(placed.slices, np.int32))
        arguments = (*placed.arguments, state, *jax.device_put(numbers, self.replicated))
        found: tuple[Leaves, Any] = jax.block_until_ready(self.compiled(*arguments))
        return found


def compile_program(
    segment: Segment,
    shape: Layout,
    shared: Any,
    own: Any,
    traced: Any,
    keys: Any,
    lanes: Any,
    first_device: int = 0,
) -> Program:
    """Trace and compile one group.

    Args:
        segment: The functions of one lane.
        shape: The layout.
        shared, own, traced, keys, lanes: Arrays like those of the later calls of the program (only shapes and
            dtypes matter).
        first_device: Number of the first of this process's devices that the program runs on.
    """
    started = time.perf_counter()
    devices = jax.local_devices()[first_device : first_device + shape.devices]
    mesh = Mesh(np.array(devices), ("lanes",))

    def begin(shared: Any, own: Any, traced: Any, key: Any, number: Any) -> Any:
        return segment.begin(shared, own, traced, jax.random.wrap_key_data(key), number)

    rows = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], np.asarray(a).dtype), (own, traced, keys, lanes)
    )
    leaves, tree = jax.tree.flatten(jax.eval_shape(begin, shared, *rows))
    state = [jax.ShapeDtypeStruct((shape.lanes, *leaf.shape), leaf.dtype) for leaf in leaves]

    def one(arguments: tuple[Any, ...], shared: Any, span: Any) -> Any:
        own, traced, key, number, state = arguments
        lane = (shared, own, traced, jax.random.wrap_key_data(key), number)
        after, results = segment.run(lane, jax.tree.unflatten(tree, state), span)
        return jax.tree.leaves(after), results

    vectorised = jax.vmap(one, in_axes=(0, None, None))

    def device_part(shared: Any, *parts: Any) -> Any:
        *arguments, span, slices = parts
        sliced = jax.tree.map(
            lambda a: jnp.reshape(a, (shape.slices, shape.width, *a.shape[1:])), tuple(arguments)
        )

        def slice_of(number: Any) -> Any:
            return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, number, keepdims=False), sliced)

        # Traced once: the loop below needs to know beforehand what a slice gives.
        traced_slice, like = jax.make_jaxpr(vectorised, return_shape=True)(slice_of(0), shared, span)

        def run_slice(number: Any, results: Any) -> Any:
            found = jaxpr_as_fun(traced_slice)(*jax.tree.leaves((slice_of(number), shared, span)))
            write = lambda old, new: jax.lax.dynamic_update_index_in_dim(old, new, number, 0)  # noqa: E731
            return jax.tree.map(write, results, jax.tree.unflatten(jax.tree.structure(like), found))

        empty = jax.tree.map(lambda leaf: jnp.zeros((shape.slices, *leaf.shape), leaf.dtype), like)
        # The compiler must not know how many slices there are: it would take a loop of one slice apart, and
        # what was in it would round in another way than in a loop of several.
        results = jax.lax.fori_loop(0, slices, run_slice, empty)
        each = shape.slices * shape.width  # not -1: a curve may have no points at all
        return jax.tree.map(lambda a: jnp.reshape(a, (each, *a.shape[2:])), results)

    # shard_map, not automatic partitioning: lanes are independent, and a loop whose length depends on
    # its data must not make devices wait for each other at every turn.
    split = jax.shard_map(
        device_part,
        mesh=mesh,
        in_specs=(P(), *[P("lanes")] * 5, P(), P()),
        out_specs=P("lanes"),
        check_vma=False,
    )
    sharded, replicated = NamedSharding(mesh, P("lanes")), NamedSharding(mesh, P())

    def abstract(tree: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(np.shape(a), np.asarray(a).dtype, sharding=sharding), tree
        )

    compiled = (
        jax.jit(split)
        .lower(
            abstract(shared, replicated),
            *[abstract(part, sharded) for part in (own, traced, keys, lanes)],
            [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharded) for leaf in state],
            jax.ShapeDtypeStruct((3,), np.int32, sharding=replicated),
            jax.ShapeDtypeStruct((), np.int32, sharding=replicated),
        )
        .compile()
    )
    memory = compiled.memory_analysis()
    needed = 0
    if memory is not None:  # of one device: all run the same program on shares of one size
        needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Program(
        layout=shape,
        compiled=compiled,
        seconds=time.perf_counter() - started,
        bytes_each=needed,
        sharded=sharded,
        replicated=replicated,
        state=tuple(state),
    )


MOST_KEPT = 32
"""Maximum number of programs that a process keeps; training a small network takes 30 MB for each program
(measured)."""


@dataclass(eq=False)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    program: Program | None = None


class ProgramCache:
    """Compiled programs of this process; two threads that want one program compile it once.

    The least recently requested programs are removed first. A program that is still in use stays known, even
    if other programs are compiled in the meantime.

    Args:
        most: Maximum number of programs that are kept.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[Any, ...], _Entry] = OrderedDict()
        self._alive: WeakValueDictionary[tuple[Any, ...], Program] = WeakValueDictionary()
        self._charged: WeakSet[Program] = WeakSet()

    def get(
        self, key: tuple[Any, ...], compile: Callable[[], Program], *, charge: bool = True
    ) -> tuple[Program, float]:
        """Return the program under `key`, compiled now if it is not there, and the seconds that this took.

        The seconds are charged once, to the first caller that runs the program. They are 0 for every other
        caller, and for a caller that passes `charge=False` because it only compiles ahead.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            made = [known for known, one in self._entries.items() if one.program is not None and one != entry]
            for known in made[: max(0, len(made) + 1 - self._most)]:
                del self._entries[known]
        with entry.lock:
            if entry.program is None:
                entry.program = self._alive.get(key) or compile()
            with self._lock:
                self._alive[key] = entry.program
                if not charge or entry.program in self._charged:
                    return entry.program, 0.0
                self._charged.add(entry.program)
            return entry.program, entry.program.seconds
