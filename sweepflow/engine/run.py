"""Run a batch: stack its trials, call its group's program, unstack, store a record for each trial."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from sweepflow.engine.failure import failed_record
from sweepflow.engine.memory import allowance, memory_share
from sweepflow.engine.placement import DeviceLocks, first_device
from sweepflow.engine.program import Layout, Program, ProgramCache, compile_program, layout
from sweepflow.engine.progress import checkpoint_writer, read_progress
from sweepflow.engine.segments import Pace, Progress, Written, run_segments
from sweepflow.engine.workload import C, Trial, Workload
from sweepflow.fingerprint import key_data
from sweepflow.provenance import provenance
from sweepflow.schema.numbers import fed
from sweepflow.storage.checkpoints import remove_checkpoint
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store

_PROGRAMS = ProgramCache()
_DEVICES = DeviceLocks()


@dataclass(frozen=True)
class _Settings:
    """Settings of a batch and of all its parts; see `run_batch`."""

    store: Store
    memory_fraction: float
    on_record: Callable[[Record], None] | None
    pace: Pace

    def keep(self, records: Sequence[Record]) -> None:
        for record in records:
            self.store.put(record)
            if self.on_record is not None:
                self.on_record(record)


def run_batch(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    store: Store,
    *,
    size: int,
    datasets: int,
    memory_fraction: float = 0.5,
    on_record: Callable[[Record], None] | None = None,
    width: int | None = None,
    pace: Pace | None = None,
) -> list[Record]:
    """Run the trials of one batch and keep their records.

    A trial that has a checkpoint continues from there, with the same bits as in an uninterrupted run.
    Checkpoints are removed once their trials' records are stored.

    If the compiled program would take more than `memory_fraction` of the free memory, or the device runs out
    of memory, the batch is halved. Its halves are run one after the other, in vectors half as wide. A single
    trial that does not fit even with vectors of one lane gets status `failed`.

    Args:
        workload: Workload to run.
        trials: Trials of one group.
        store: Store from which inputs are read and in which records are kept.
        size: Number of trials that the group's program holds, at least as many as there are; the rest is
            padding.
        datasets: Number of data sets that the group's program holds, at least as many as the batch has.
        memory_fraction: Share of the free memory that one call may take.
        on_record: Called with each record once it is stored.
        width: Number of lanes that are vectorised together; the workload's own if not given.
        pace: Rules by which the run is cut into segments; if not given, the run is never stopped early.

    Returns:
        One record for each trial, in the order of the trials.

    Raises:
        StoppedError, LeavingError: as `pace` says. Finished work has its records or its checkpoints.
    """
    if not trials:
        return []
    settings = _Settings(store, memory_fraction, on_record, pace or Pace())
    obstacles = {trial.id: workload.obstacle(trial, store) for trial in trials}
    failed = [failed_record(workload, t, why) for t in trials if (why := obstacles[t.id]) is not None]
    settings.keep(failed)
    possible = [trial for trial in trials if obstacles[trial.id] is None]
    width = width or workload.vector_width(jax.default_backend())
    done = _run(workload, possible, settings, size, datasets, width) if possible else []
    found = {record.id: record for record in (*failed, *done)}
    return [found[trial.id] for trial in trials]


class _TooLargeError(Exception):
    """The batch does not fit the memory."""


def _run(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    settings: _Settings,
    size: int,
    datasets: int,
    width: int,
) -> list[Record]:
    """Run trials that can run, in halves if they do not fit the memory; return their records in any order."""
    records: list[Record] = []
    try:
        for record in _run_together(workload, trials, settings, size, datasets, width):
            records.append(record)  # what was done before the memory ran out counts
    except _TooLargeError as error:
        shortage = str(error)
    else:
        return records
    # Not in the handler, and after a collection: tracebacks hold on to the arrays that did not fit.
    gc.collect()
    known = {record.id for record in records}
    left = [trial for trial in trials if trial.id not in known]
    if len(left) == 1 and width == 1:
        failed = [failed_record(workload, left[0], shortage)]
        settings.keep(failed)
        return [*records, *failed]
    middle = (len(left) + 1) // 2  # the first half is no smaller: both share its program
    for half in (left[:middle], left[middle:]):
        if half:
            fewer = min(datasets, middle)
            records += _run(workload, half, settings, middle, fewer, max(1, width // 2))
    return records


def _run_together(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    settings: _Settings,
    size: int,
    datasets: int,
    width: int,
) -> Iterator[Record]:
    """Run trials in one program, those with equal progress together; yield each record once it is stored."""
    store = settings.store
    with _shortage():
        program, compiling, arguments = _program(workload, trials, store, size, datasets, width, charge=True)
    if len(trials) > 1 and memory_share(program) > settings.memory_fraction * allowance(program):
        raise _TooLargeError("more than the share of the free memory that a batch may take")
    for numbers, progress in read_progress(workload, trials, store, program):
        part = [trials[number] for number in numbers]
        ready = arguments if len(part) == len(trials) else None
        ends = _to_their_ends(workload, part, program, progress, settings, datasets, ready)
        for trial, own, seconds in ends:
            record = workload.record(trial, own, store)
            share = {"compile": compiling / len(trials), "run": seconds}
            record = replace(record, seconds=share, provenance=provenance())
            settings.keep([record])
            if workload.segmented is not None:
                remove_checkpoint(store, trial.id)
            yield record


def _to_their_ends(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    program: Program,
    progress: Progress,
    settings: _Settings,
    datasets: int,
    arguments: _Arguments | None,
) -> Iterator[tuple[Trial[C], dict[str, np.ndarray], float]]:
    """Run trials with equal progress; yield each with its results and its seconds once it has ended.

    Trials that go on are run without those that have ended.

    Args:
        workload, trials, program, progress, settings, datasets: Those of the run.
        arguments: Arguments of the program for all of the trials, if they have been made already.
    """
    store, lanes = settings.store, workload.lanes(trials[0].config)
    stops = {trial.id: workload.stop(trial, None, progress.done) for trial in trials}
    written: Written | None = None
    while True:
        progress = replace(progress, of=min(stops.values()))
        keep = checkpoint_writer(workload, trials, store, program, progress)
        with _shortage():
            if arguments is None:
                arguments = _arguments(workload, trials, store, datasets, program.layout)
            with _DEVICES.hold(device.id for device in program.sharded.mesh.devices.flat):
                started = time.perf_counter()
                written = written or Written(progress.done, started, progress.done)
                placed = program.place(*arguments, used=lanes * len(trials))
                state, results = run_segments(program, placed, progress, settings.pace, keep, written)
                elapsed = time.perf_counter() - started
        held = program.layout.rows(lanes * len(trials))
        leaves = [np.asarray(leaf)[held] for leaf in jax.device_get(state)]
        found = {name: np.asarray(value)[held] for name, value in results.items()}
        if workload.segmented is not None and any(workload.segmented.keeps_state(t.config) for t in trials):
            found |= {f"state.{i}": leaf for i, leaf in enumerate(leaves)}
        going_on = []
        for i, (trial, before) in enumerate(zip(trials, progress.seconds, strict=True)):
            own_rows = np.arange(i * lanes, (i + 1) * lanes)
            own = {name: value[own_rows] for name, value in found.items()}
            if stops[trial.id] <= progress.of:
                stops[trial.id] = workload.stop(trial, own, progress.of)
            spent = before + elapsed / len(trials)
            if stops[trial.id] <= progress.of:
                del stops[trial.id]
                yield trial, own, spent
            else:
                going_on.append((trial, spent, own_rows))
        if not going_on:
            return
        trials, seconds, rows = zip(*going_on, strict=True)
        arguments = None
        chosen = np.concatenate(rows)
        progress = Progress(progress.of, progress.of, seconds, [leaf[chosen] for leaf in leaves])


@contextmanager
def _shortage() -> Iterator[None]:
    """Raise one kind of error if memory runs out, of the host or of a device."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise _TooLargeError(f"out of memory: {str(error)[:200] or 'host'}".splitlines()[0]) from error
        raise


def _program(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    store: Store,
    size: int,
    datasets: int,
    width: int,
    *,
    charge: bool,
) -> tuple[Program, float, _Arguments]:
    """Return a batch's compiled program, the compile seconds charged to this batch, and the program's
    arguments."""
    config = trials[0].config
    devices = jax.local_device_count()
    shape = layout(workload.lanes(config) * size, devices, width)
    text = workload.program_key(config)
    first = first_device(text, shape.devices, devices)
    arguments = _arguments(workload, trials, store, datasets, shape)

    def compile_now() -> Program:
        return compile_program(workload.segment(config), shape, *arguments, first_device=first)

    program, seconds = _PROGRAMS.get((workload.name, text, shape, datasets), compile_now, charge=charge)
    return program, seconds, arguments


def compile_ahead(
    workload: Workload[C], trials: Sequence[Trial[C]], store: Store, *, size: int, datasets: int
) -> None:
    """Compile a batch's program, so that `run_batch` finds it; the arguments are those of `run_batch`.

    Errors are suppressed here: `run_batch` reports them.
    """
    width = workload.vector_width(jax.default_backend())
    with suppress(Exception):
        _program(workload, trials, store, size, datasets, width, charge=False)


_Arguments = tuple[Any, Any, Any, np.ndarray, np.ndarray]


def _arguments(
    workload: Workload[C], trials: Sequence[Trial[C]], store: Store, datasets: int, shape: Layout
) -> _Arguments:
    """Return the program's arguments.

    All but the shared ones have one leading row for each lane, at the place where the layout has it.
    """
    inputs = workload.inputs(trials, datasets, store)
    lanes_each = workload.lanes(trials[0].config)
    order = shape.lane_of_rows(lanes_each * len(trials))
    trial_of, lane_of = order // lanes_each, (order % lanes_each).astype(np.int32)
    own = {name: value[trial_of] for name, value in inputs.own.items()}
    numbers = [trial.traced for trial in trials]
    traced = {name: fed(name, [row[name] for row in numbers])[trial_of] for name in numbers[0]}
    keys = np.stack([key_data(trial.id, trial.seed) for trial in trials])[trial_of]
    return inputs.shared, own, traced, keys, lane_of
