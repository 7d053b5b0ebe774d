"""The workload `command`: any external training program, one process a trial.

The program gets its configuration as arguments and prints lines such as `METRIC val_loss=0.31`. All of its
output is kept in a log beside the trial's record.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from sweepflow.engine.devices import GIVEN_FLAGS
from sweepflow.engine.workload import Trial
from sweepflow.errors import nearest
from sweepflow.provenance import provenance
from sweepflow.stop import raise_if_stopped, stoppable
from sweepflow.store.record import Record, Status
from sweepflow.store.store import Store
from sweepflow.workloads.command_config import RESERVED, CommandConfig, check, command_line, label, pin
from sweepflow.workloads.command_guard import POLL_SECONDS
from sweepflow.workloads.command_output import Output, read_output
from sweepflow.workloads.command_process import CommandProcess, end_all, guarded
from sweepflow.workloads.workload import SweepWorkload

__all__ = ["NAME", "VERSION", "WORKLOAD", "CommandConfig", "check", "label", "pin", "run_trials"]

NAME = "command"
VERSION = 1


@dataclass(eq=False)
class _Running:
    """A trial's process, its place among the trials, and the device that it was given, if any."""

    place: int
    process: CommandProcess
    device: int | None


def run_trials(
    trials: Sequence[Trial[CommandConfig]],
    store: Store,
    *,
    on_record: Callable[[Record], None] | None = None,
) -> list[Record]:
    """Run each trial's command and keep its record as soon as it has ended by itself.

    At most `max_concurrent` run at a time, each on the device that has the fewest, in turn (both as the
    first trial says). Whatever is raised in this thread, an interruption included, ends every process that
    was started here, and what those have started; so does the end of this whole process, even by SIGKILL.

    Args:
        trials: What to run.
        store: Where records and logs are kept.
        on_record: Called with each record once it is stored.

    Returns:
        One record a trial, in their order.

    Raises:
        ConfigError: for a command that `check` refuses; before any is started.
        StoppedError: where this process is being ended, or the sweep is. What runs then has no record.
        StoreError: where logs or records cannot be written.
    """
    distinct = {
        (c.command, c.cwd, c.environment.get("PATH"), c.sha256): c for c in (t.config for t in trials)
    }
    for config in distinct.values():
        check(config)
    if not trials:
        return []
    devices, limit = trials[0].config.devices, trials[0].config.max_concurrent
    turn = deque(range(len(devices)))
    waiting = deque(range(len(trials)))
    running: list[_Running] = []
    records: dict[int, Record] = {}

    def keep(place: int, record: Record) -> None:
        raise_if_stopped()  # it may have been ended with this process, which is no result of it
        store.put(record)
        records[place] = record
        if on_record is not None:
            on_record(record)

    with stoppable(), guarded() as mark, _ended(running):
        while waiting or running:
            raise_if_stopped()
            while waiting and len(running) < limit:
                place = waiting.popleft()
                device = min(turn, key=[r.device for r in running].count, default=None)
                if device is not None:
                    turn.remove(device)
                    turn.append(device)
                process = _prepared(trials[place], store, mark, None if device is None else devices[device])
                running.append(_Running(place, process, device))  # first: it may be interrupted as it starts
                try:
                    process.start()
                except (OSError, ValueError) as error:
                    running.pop()
                    process.log.close()
                    keep(place, _not_started(trials[place], error))
            for one in [one for one in running if one.process.poll() and one.process.is_settled()]:
                keep(one.place, _record(trials[one.place], one.process))
                running.remove(one)
            if running:
                time.sleep(POLL_SECONDS)
    return [records[place] for place in range(len(trials))]


@contextmanager
def _ended(running: Sequence[_Running]) -> Iterator[None]:
    """However the context is left, nothing of these runs any more."""
    try:
        yield
    finally:
        end_all(one.process for one in running)


def _prepared(trial: Trial[CommandConfig], store: Store, mark: str, device: str | None) -> CommandProcess:
    config = trial.config
    # Python programs would hold back their last output where it is no terminal, and lose it when killed.
    environment = {"PYTHONUNBUFFERED": "1"}
    if GIVEN_FLAGS in os.environ:  # `configure` has set flags of its own, for this process
        environment["XLA_FLAGS"] = os.environ[GIVEN_FLAGS]
    environment |= config.environment
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    return CommandProcess(
        command_line(config),
        store.paths.log(trial.id),
        mark,
        directory=None if config.cwd is None else os.path.expanduser(config.cwd),
        environment=environment,
        timeout_seconds=config.timeout_seconds,
    )


def _record(trial: Trial[CommandConfig], process: CommandProcess) -> Record:
    """What has become of a process that has ended.

    A metric's figure is its last value, None where that is not finite; `curve.NAME` has all of its values.
    """
    output = read_output(process.log)
    status, reasons = _judged(trial.config, process, output)
    figures: dict[str, float | int | None] = {
        name: values[-1] if math.isfinite(values[-1]) else None for name, values in output.metrics.items()
    }
    figures |= dict(zip(RESERVED, (process.exit_code, process.seconds), strict=True))
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status=status,
        reasons=reasons,
        config=trial.config.model_dump(mode="json"),
        figures=figures,
        seconds={"compile": 0.0, "run": process.seconds},
        provenance=provenance(device=False),
        arrays={f"curve.{name}": np.array(values) for name, values in output.metrics.items()},
    )


def _judged(config: CommandConfig, process: CommandProcess, output: Output) -> tuple[Status, tuple[str, ...]]:
    """The status, and in words why it is not `ok`.

    A program that ends with an error after it has printed a NaN for a metric has diverged: it would again.
    """
    code = process.exit_code or 0
    ending = f"; its log ends: {' | '.join(output.tail)}" if output.tail else "; it printed nothing"
    if process.timed_out:
        return "failed", (f"timed out after {config.timeout_seconds:g} s{ending}",)
    if code < 0:
        return "failed", (f"ended by {_signal_name(-code)}{ending}",)
    stopped = (f"exit code {code}{ending}",) if code else ()
    if lost := tuple(
        _loss_of(name, output.metrics[name]) for name in config.metrics if _is_lost(name, output)
    ):
        return "diverged", lost + stopped
    if stopped:
        return "failed", stopped
    missing = tuple(_absence(name, output) for name in config.metrics if name not in output.metrics)
    return ("failed", missing) if missing else ("ok", ())


def _is_lost(name: str, output: Output) -> bool:
    return name in output.metrics and not math.isfinite(output.metrics[name][-1])


def _loss_of(name: str, values: Sequence[float]) -> str:
    first = next(number for number, value in enumerate(values, 1) if not math.isfinite(value))
    return f"diverged: {name} is {values[-1]}, not finite since its value {first} of {len(values)}"


def _absence(name: str, output: Output) -> str:
    if name in output.refused:
        return f"metric {name} is {output.refused[name]!r}, which is no number"
    if not output.metrics:
        return f"metric {name} was never printed, nor any other: a line 'METRIC {name}=0.5' is looked for"
    match = nearest(name, output.metrics)
    hint = f"; did you mean {match}?" if match else ""
    return f"metric {name} was never printed; printed were {', '.join(output.metrics)}{hint}"


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def _not_started(trial: Trial[CommandConfig], error: Exception) -> Record:
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status="failed",
        reasons=(f"could not be started: {error}",),
        config=trial.config.model_dump(mode="json"),
        figures={},
        provenance=provenance(device=False),
    )


WORKLOAD: SweepWorkload[CommandConfig] = SweepWorkload(
    path=NAME,
    name=NAME,
    version=VERSION,
    config_type=CommandConfig,
    metric=lambda config: config.metrics[0],
    run=run_trials,
    prepare=lambda config: (pin(config), ()),
    check=check,
)
