"""Run a batch: stack its trials, call its group's program, unstack, store a record for each trial."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import psutil

from sweepflow.engine.placement import DeviceLocks, first_device
from sweepflow.engine.program import Program, ProgramCache, compile_program, layout
from sweepflow.engine.workload import C, Trial, Workload
from sweepflow.fingerprint import key_data
from sweepflow.provenance import provenance
from sweepflow.store.record import Record
from sweepflow.store.store import Store

_PROGRAMS = ProgramCache()
_DEVICES = DeviceLocks()


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
) -> list[Record]:
    """Run the trials of one batch and keep their records.

    Where the compiled program would take more than `memory_fraction` of the free memory, or the device
    runs out of it, the batch is halved, and its halves are run one after the other, in vectors half as
    wide. A single trial that does not fit even with vectors of one lane gets status `failed`.

    Args:
        workload: What to run.
        trials: Trials of one group.
        store: Where inputs are read and records kept.
        size: Trials that the group's program holds, at least as many as there are; the rest is padding.
        datasets: Data sets that the group's program holds, at least as many as the batch has.
        memory_fraction: Share of the free memory that one call may take.
        on_record: Called with each record once it is stored.
        width: Lanes vectorised together; the workload's own where it is not given.

    Returns:
        One record a trial, in their order.
    """
    if not trials:
        return []
    width = width or workload.vector_width(jax.default_backend())
    obstacles = {trial.id: workload.obstacle(trial, store) for trial in trials}
    hopeless = {t.id: _failed(workload, t, why) for t in trials if (why := obstacles[t.id]) is not None}
    if hopeless:
        _keep(list(hopeless.values()), store, on_record)
        done = run_batch(
            workload,
            [trial for trial in trials if trial.id not in hopeless],
            store,
            size=size,
            datasets=datasets,
            memory_fraction=memory_fraction,
            on_record=on_record,
            width=width,
        )
        found = hopeless | {record.id: record for record in done}
        return [found[trial.id] for trial in trials]
    try:
        records = _run_once(workload, trials, store, size, datasets, memory_fraction, width)
    except _TooLargeError as error:
        shortage = str(error)
    else:
        _keep(records, store, on_record)
        return records
    # Not in the handler, and after a collection: tracebacks hold on to the arrays that did not fit.
    gc.collect()
    if len(trials) == 1 and width == 1:
        records = [_failed(workload, trials[0], shortage)]
        _keep(records, store, on_record)
        return records
    middle = (len(trials) + 1) // 2  # the first half is no smaller: both share its program
    return [
        record
        for half in (trials[:middle], trials[middle:])
        for record in run_batch(
            workload,
            half,
            store,
            size=middle,
            datasets=min(datasets, middle),
            memory_fraction=memory_fraction,
            on_record=on_record,
            width=max(1, width // 2),
        )
    ]


def _keep(records: Sequence[Record], store: Store, on_record: Callable[[Record], None] | None) -> None:
    for record in records:
        store.put(record)
        if on_record is not None:
            on_record(record)


class _TooLargeError(Exception):
    """The batch does not fit the memory."""


def _run_once(
    workload: Workload[C],
    trials: Sequence[Trial[C]],
    store: Store,
    size: int,
    datasets: int,
    share: float,
    width: int,
) -> list[Record]:
    lanes_each = workload.lanes(trials[0].config)
    try:
        program, compiling, arguments = _program(workload, trials, store, size, datasets, width, charge=True)
        if len(trials) > 1 and memory_share(program) > share * _allowance(program):
            raise _TooLargeError("more than the share of the free memory that a batch may take")
        with _DEVICES.hold(device.id for device in program.sharded.mesh.devices.flat):
            started = time.perf_counter()
            results = program(*arguments)
            elapsed = time.perf_counter() - started
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise _TooLargeError(f"out of memory: {str(error)[:200] or 'host'}".splitlines()[0]) from error
        raise
    seconds = {"compile": compiling / len(trials), "run": elapsed / len(trials)}
    return [
        replace(
            workload.record(trial, _rows(results, slice(i * lanes_each, (i + 1) * lanes_each)), store),
            seconds=seconds,
            provenance=provenance(),
        )
        for i, trial in enumerate(trials)
    ]


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
    """A batch's compiled program, the seconds of compiling it that are this batch's, and its arguments."""
    config = trials[0].config
    devices = jax.local_device_count()
    shape = layout(workload.lanes(config) * size, devices, width)
    text = workload.program_key(config)
    first = first_device(text, shape.devices, devices)
    arguments = _arguments(workload, trials, store, datasets, shape.lanes)

    def compile_now() -> Program:
        return compile_program(workload.lane(config), shape, *arguments, first_device=first)

    program, seconds = _PROGRAMS.get((workload.name, text, shape, datasets), compile_now, charge=charge)
    return program, seconds, arguments


def compile_ahead(
    workload: Workload[C], trials: Sequence[Trial[C]], store: Store, *, size: int, datasets: int
) -> None:
    """Compile a batch's program, so that `run_batch` finds it; arguments as there.

    What goes wrong is left to `run_batch` to say.
    """
    width = workload.vector_width(jax.default_backend())
    with suppress(Exception):
        _program(workload, trials, store, size, datasets, width, charge=False)


_Arguments = tuple[Any, Any, Any, np.ndarray, np.ndarray]


def _arguments(
    workload: Workload[C], trials: Sequence[Trial[C]], store: Store, datasets: int, lanes: int
) -> _Arguments:
    """The program's arguments, all but the shared ones with a leading row a lane."""
    inputs = workload.inputs(trials, datasets, store)
    lanes_each = workload.lanes(trials[0].config)
    # Padding repeats the last lane: always valid numbers, and never slower than a real one.
    order = np.minimum(np.arange(lanes), lanes_each * len(trials) - 1)
    trial_of, lane_of = order // lanes_each, (order % lanes_each).astype(np.int32)
    own = {name: value[trial_of] for name, value in inputs.own.items()}
    numbers = [trial.traced for trial in trials]
    traced = {name: np.array([row[name] for row in numbers])[trial_of] for name in numbers[0]}
    keys = np.stack([key_data(trial.id, trial.seed) for trial in trials])[trial_of]
    return inputs.shared, own, traced, keys, lane_of


def _rows(results: dict[str, Any], rows: slice) -> dict[str, np.ndarray]:
    return {name: np.asarray(value)[rows] for name, value in results.items()}


def _failed(workload: Workload[C], trial: Trial[C], reason: str) -> Record:
    return Record(
        id=trial.id,
        workload=workload.name,
        version=workload.version,
        status="failed",
        reasons=(reason,),
        config=trial.config.model_dump(mode="json"),
        figures={},
        provenance=provenance(),
    )


def _allowance(program: Program) -> float:
    """The part of a batch's share of the memory that a program may take: batches on other devices run beside
    it, and CPU devices share one memory."""
    devices = program.sharded.mesh.devices
    return devices.size / jax.local_device_count() if devices.flat[0].platform == "cpu" else 1.0


def memory_share(program: Program) -> float:
    """The share of the free memory that one call of a program takes, where that is scarcest."""
    statistics = [device.memory_stats() for device in program.sharded.mesh.devices.flat]
    return share_taken(program.bytes_each, statistics, int(psutil.virtual_memory().available))


def share_taken(
    bytes_each: int, statistics: Sequence[Mapping[str, int] | None], host_available: int
) -> float:
    """The largest share of free memory taken, with accelerators and the host counted apart.

    Args:
        bytes_each: What a call takes on each device.
        statistics: One a device, as JAX gives them: an accelerator has a memory of its own and says its
            `bytes_limit` and `bytes_in_use`; devices that do not are CPUs, which share the host's.
        host_available: Free bytes of the host.

    Returns:
        Above 1 where it does not fit; infinite where nothing is free.
    """
    own = [s["bytes_limit"] - s.get("bytes_in_use", 0) for s in statistics if s and "bytes_limit" in s]
    on_host = len(statistics) - len(own)
    takes = [(bytes_each, free) for free in own] + [(bytes_each * on_host, host_available)] * bool(on_host)
    return max(needed / free if free > 0 else math.inf for needed, free in takes)
