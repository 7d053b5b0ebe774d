"""The workload `command`: any external training program, with one process per trial.

The program gets its configuration as arguments and prints lines such as `METRIC val_loss=0.31`. All of its
output is kept in a log beside the trial's record.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from pydantic import ValidationError

from sweepflow.engine.devices import GIVEN_FLAGS
from sweepflow.engine.failure import failed_record
from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError, nearest, with_advice
from sweepflow.provenance import provenance
from sweepflow.schema.fields import recorded
from sweepflow.stop import raise_if_stopped, stoppable
from sweepflow.storage.record import Record, Status
from sweepflow.storage.store import Store
from sweepflow.workloads.command_check import check
from sweepflow.workloads.command_config import GIVEN_VARIABLES, RESERVED, CommandConfig
from sweepflow.workloads.command_files import files_seen, folders_not_seen, one_look, pin
from sweepflow.workloads.command_guard import POLL_SECONDS
from sweepflow.workloads.command_line import PLACES, command_line, filled_environment, label, typed
from sweepflow.workloads.command_output import Output, read_output
from sweepflow.workloads.command_process import CommandProcess, end_all, guarded
from sweepflow.workloads.goal import goal_of
from sweepflow.workloads.workload import SweepWorkload

__all__ = ["NAME", "VERSION", "WORKLOAD", "CommandConfig", "check", "label", "pin", "run_trials"]

NAME = "command"
VERSION = 1


@dataclass(eq=False)
class _Running:
    """A trial's process, its place among the trials, its device, if any, and the digests that the files which
    it names had at its start."""

    place: int
    process: CommandProcess
    device: int | None
    files: dict[str, str] = field(default_factory=dict)


def run_trials(
    trials: Sequence[Trial[CommandConfig]],
    store: Store,
    *,
    on_record: Callable[[Record], None] | None = None,
) -> list[Record]:
    """Run each trial's command, and keep its record as soon as the command has ended by itself.

    At most `max_concurrent` commands run at a time, each on the device that has the fewest, in turn (both
    settings are those of the first trial). Any exception in this thread, including an interruption, ends
    every process that was started here, and all processes that those have started. The end of this whole
    process, even by SIGKILL, ends them too.

    Args:
        trials: Trials to run.
        store: Store of records and logs.
        on_record: Called with each record once it is stored.

    Returns:
        One record per trial, in their order.

    Raises:
        ConfigError: for a command that `check` refuses; before any command is started.
        InterruptedBatchError: if this process or the sweep is being ended. Commands that run then have no
            record.
        StoreError: if logs or records cannot be written.
    """
    with one_look():
        for trial in trials:
            check(trial.config)
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
                    if trials[place].config.sha256:
                        pin(trials[place].config)  # again: those before it may have run for days
                    running[-1].files = files_seen(trials[place].config)
                    process.start()
                except (OSError, ValueError, ConfigError) as error:
                    running.pop()
                    process.log.close()
                    why = f"could not be started: {with_advice(error)}"
                    keep(place, failed_record(WORKLOAD, trials[place], why, device=False))
            for one in [one for one in running if one.process.poll() and one.process.is_settled()]:
                keep(one.place, _record(trials[one.place], one))
                store.drop_empty_folder(trials[one.place].id)
                running.remove(one)
            if running:
                time.sleep(POLL_SECONDS)
    return [records[place] for place in range(len(trials))]


@contextmanager
def _ended(running: Sequence[_Running]) -> Iterator[None]:
    """End all of these processes when the context is left, in whatever way."""
    try:
        yield
    finally:
        end_all(one.process for one in running)


def _prepared(trial: Trial[CommandConfig], store: Store, mark: str, device: str | None) -> CommandProcess:
    config = trial.config
    places = given(trial, store)
    # Python programs would hold back their last output where it is no terminal, and lose it when killed.
    environment = {"PYTHONUNBUFFERED": "1"}
    if GIVEN_FLAGS in os.environ:  # `configure` has set flags of its own, for this process
        environment["XLA_FLAGS"] = os.environ[GIVEN_FLAGS]
    environment |= filled_environment(config, places)
    environment |= dict(zip(GIVEN_VARIABLES, places.values(), strict=True))
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    store.make_folder(trial.id)
    return CommandProcess(
        command_line(config, places),
        store.paths.log(trial.id),
        mark,
        directory=None if config.cwd is None else os.path.expanduser(config.cwd),
        environment=environment,
        timeout_seconds=config.timeout_seconds,
    )


def given(trial: Trial[CommandConfig], store: Store) -> dict[str, str]:
    """Return the values that a trial gets about itself: its id, its sweep, a folder of its own."""
    values = (trial.id, trial.config.sweep or "", str(store.paths.trial_folder(trial.id).absolute()))
    return dict(zip(PLACES, values, strict=True))


def _record(trial: Trial[CommandConfig], ended: _Running) -> Record:
    """Return the record of a process that has ended.

    The figure of a metric is its last value, or None if that is not a finite number. `curve.NAME` has all
    values, and `best_NAME` is the best of them.
    """
    process = ended.process
    output = read_output(process.log, whole=process.exit_code == 0 and not process.timed_out)
    status, reasons = _judged(trial.config, process, output)
    if status == "ok" and (doubts := (*_doubts(output), *_changed(trial.config, ended.files))):
        status, reasons = "flagged", doubts
    figures: dict[str, float | int | None] = {
        name: values[-1] if output.last[name] and math.isfinite(values[-1]) else None
        for name, values in output.metrics.items()
    }
    for name in trial.config.metrics:
        figures |= {k: v for k, v in _best(name, output.metrics.get(name, ())).items() if k not in figures}
    figures |= dict(zip(RESERVED, (process.exit_code, process.seconds), strict=True))
    return Record(
        id=trial.id,
        workload=NAME,
        version=VERSION,
        status=status,
        reasons=reasons,
        config=recorded(trial.config),
        figures=figures,
        seconds={"compile": 0.0, "run": process.seconds},
        provenance=provenance(device=False),
        arrays={f"curve.{name}": np.array(values) for name, values in output.metrics.items()},
    )


def _best(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return the best of a metric's values, which may differ from the last; the lowest and the highest if its
    name does not say a goal."""
    finite = [value for value in values if math.isfinite(value)]
    return {best: end(finite) for best, end in _ends(name).items()} if finite else {}


def _ends(name: str) -> dict[str, Callable[[list[float]], float]]:
    match goal_of(name):
        case "minimize":
            return {f"best_{name}": min}
        case "maximize":
            return {f"best_{name}": max}
    return {f"lowest_{name}": min, f"highest_{name}": max}


def _judged(config: CommandConfig, process: CommandProcess, output: Output) -> tuple[Status, tuple[str, ...]]:
    """Return the status, and the reasons in words if it is not `ok`.

    A program that ends with an error after it has printed a NaN for a metric has diverged: it would diverge
    again.
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
    missing = tuple(_absence(name, output) for name in config.metrics if not output.last.get(name))
    return ("failed", missing) if missing else ("ok", ())


def _doubts(output: Output) -> Iterator[str]:
    """Yield notes on printed values of metrics that are in no figure."""
    for name, count in output.refusals.items():
        lines = count + len(output.metrics.get(name, ()))
        yield (
            f"{count} of {lines} values of {name} are left out, since they are no numbers, "
            f"such as {output.refused[name]!r}"
        )
    for name in RESERVED:
        if name in output.metrics:
            yield f"METRIC {name} is left out: {name} is a figure that every program has; print another name"


def _changed(config: CommandConfig, before: Mapping[str, str]) -> Iterator[str]:
    """Yield a note if files that identify the trial have changed since it started."""
    try:
        now = files_seen(config)
    except ConfigError as error:  # one is gone, or cannot be read any more
        yield f"{error.what} since it started: {error.got}"
        return
    if names := sorted(n for n in {*before, *now} if before.get(n) != now.get(n)):
        yield (
            f"{', '.join(names[:3])} changed while it ran: by the files that it names a trial is known, so "
            "that the same sweep would run it again; let the program write below {trial_dir}, or say "
            "outputs=[...]"
        )


def _is_lost(name: str, output: Output) -> bool:
    return output.last.get(name, False) and not math.isfinite(output.metrics[name][-1])


def _loss_of(name: str, values: Sequence[float]) -> str:
    first = next(number for number, value in enumerate(values, 1) if not math.isfinite(value))
    return f"diverged: {name} is {values[-1]}, not finite since its value {first} of {len(values)}"


def _absence(name: str, output: Output) -> str:
    if name in output.refused:
        return f"metric {name} is {output.refused[name]!r}, which is no number"
    if not output.metrics and output.unread:
        return f"metric {name} was never printed: 'METRIC {name}=0.5' is looked for, not {output.unread!r}"
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


def command_of(record: Record, store: Store) -> str:
    """Return the command line of a record's program, as a person would type it; empty for other records."""
    if record.workload != NAME:
        return ""
    try:
        config = CommandConfig.model_validate(record.config)
    except ValidationError:  # a module of the user's may have this name, too
        return ""
    return typed(config, given(Trial(record.id, config, config.seed or 0), store))


WORKLOAD: SweepWorkload[CommandConfig] = SweepWorkload(
    path=NAME,
    name=NAME,
    version=VERSION,
    config_type=CommandConfig,
    metric=lambda config: config.metrics[0],
    figures=lambda config: (
        *config.metrics,
        *(best for name in config.metrics for best in _ends(name)),
        *RESERVED,
    ),
    run=run_trials,
    at_once=lambda config: config.max_concurrent,
    within=lambda config, sweep: config.model_copy(update={"sweep": sweep}),
    typed=lambda trial, store: typed(trial.config, given(trial, store)),
    prepare=lambda config: (pin(config), tuple(folders_not_seen(config))),
    check=check,
    one_look=one_look,
)
