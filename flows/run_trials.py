"""Run the plan of a sweep of trials: in batches, one by one, whichever is cheaper, or by halving."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from flows.prepare_trials import Prepared, SweepOptions
from flows.run_jobs import Job, run_jobs
from sweepflow.batching import Batch
from sweepflow.engine.workload import Trial, Workload
from sweepflow.store.record import Record
from sweepflow.trials.halving import rungs, survivors
from sweepflow.trials.modes import Measured, choose, measured, predict
from sweepflow.trials.plan import cut, group_labels
from tasks.progress import SweepProgress


@dataclass
class Ran:
    """What running a sweep had to say.

    Attributes:
        failures: What failed, in words.
        notes: What a person should know.
        stopped: Trials that halving ended early: the id of the record that each has instead, and the rung.
    """

    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: dict[str, tuple[str, int]] = field(default_factory=dict)


def run_trials(prepared: Prepared, options: SweepOptions, progress: SweepProgress) -> Ran:
    """Run what the store lacks, in the way that was asked for."""
    missing = [t for t in prepared.plan.drawn.trials.values() if t.id not in prepared.plan.known]
    if options.halving is not None:
        return _by_halving(prepared, options.halving, progress)
    way: str = options.mode
    ran = Ran()
    if way == "auto":
        way, missing = _probe(prepared, missing, progress, ran)
    if way == "padded" and prepared.plan.workload.pad is not None:
        missing = prepared.plan.workload.pad(missing)
    _run(prepared, missing, progress, ran, one_by_one=way == "sequential")
    return ran


def _run(
    prepared: Prepared,
    trials: Sequence[Trial[Any]],
    progress: SweepProgress,
    ran: Ran,
    one_by_one: bool = False,
    size: int | None = None,
) -> None:
    plan = prepared.plan
    batches = cut(plan.workload, trials, size or plan.runner.batch_size)
    progress.expect([trial.id for trial in trials], len(batches))
    jobs = [Job(plan.workload.path, batch, one_by_one=one_by_one) for batch in batches]
    ran.failures += run_jobs(jobs, plan.runner, prepared.store, progress)


def _probe(
    prepared: Prepared,
    missing: list[Trial[Any]],
    progress: SweepProgress,
    ran: Ran,
) -> tuple[str, list[Trial[Any]]]:
    """Run one call of each way on real trials of the largest group, and predict the rest from their times.

    What a probe has run is done; its results are those of any other way.
    """
    plan, engine = prepared.plan, prepared.plan.workload.run
    groups = defaultdict(list)
    for trial in missing:
        groups[plan.groups[trial.id]].append(trial)
    if not isinstance(engine, Workload) or len(missing) == len(groups) == 1 or len(groups) <= 1:
        ran.notes.append("mode auto: batched, as there is one program to compile")
        return "batched", missing
    largest = max(groups.values(), key=len)
    lanes = max(2, jax.local_device_count()) * engine.vector_width(jax.default_backend())
    ways = {"batched": largest[:lanes], "sequential": largest[lanes : lanes + 1] or largest[:1]}
    if plan.workload.pad is not None:
        padded = plan.workload.pad(missing)
        chosen = {trial.id for trial in largest}
        ways["padded"] = [trial for trial in padded if trial.id in chosen][-lanes:]
    probes: dict[str, Measured] = {}
    for way, trials in ways.items():
        todo = [trial for trial in trials if prepared.store.get(trial.id) is None] or trials
        one_by_one = way == "sequential"
        batch = Batch(f"probe {way}", 1, 1, tuple(todo), size=len(todo), datasets=len(todo))
        progress.expect([trial.id for trial in todo], 1)
        job = Job(plan.workload.path, batch, one_by_one=one_by_one)
        ran.failures += run_jobs([job], plan.runner, prepared.store, progress)
        records = list(prepared.store.known(trial.id for trial in todo).values())
        probes[way] = measured(records, 1 if one_by_one else lanes)
    rest = [t for t in missing if prepared.store.get(t.id) is None]
    sizes = {way: [len(members) for members in groups.values()] for way in ("batched", "sequential")}
    if plan.workload.pad is not None:
        labels = group_labels(plan.workload, plan.workload.pad(missing))
        sizes["padded"] = [list(labels.values()).count(label) for label in dict.fromkeys(labels.values())]
    way, why = choose({way: predict(way, sizes[way], probes[way]) for way in probes})
    ran.notes.append(why)
    return way, rest


def _by_halving(prepared: Prepared, eta: int, progress: SweepProgress) -> Ran:
    """Rung by rung: run the trials of a rung, keep the best of each group."""
    plan, until = prepared.plan, prepared.plan.workload.until
    assert until is not None  # `prepare_trials` refuses a workload that cannot
    ran = Ran()
    alive = dict(plan.drawn.trials)
    by_epochs: dict[int, dict[str, Trial[Any]]] = defaultdict(dict)
    for trial in alive.values():
        by_epochs[trial.config.epochs][trial.id] = trial
    for epochs, members in by_epochs.items():
        stops = rungs(epochs, eta)
        alive, before = dict(members), 0
        for number, stop in enumerate(stops, 1):
            last = stop == epochs
            here = {i: until(trial, None if last else stop, before) for i, trial in alive.items()}
            known = prepared.store.finished(trial.id for trial in here.values())
            todo = [trial for trial in here.values() if trial.id not in known]
            # One size for all rungs: survivors fill fewer calls of the same compiled program.
            _run(prepared, todo, progress, ran, size=_call_size(prepared, len(members), eta, len(stops)))
            records = prepared.store.known(trial.id for trial in here.values())
            ran.stopped |= {i: (trial.id, number) for i, trial in here.items()}
            if last:
                break
            found = {i: records[trial.id] for i, trial in here.items() if trial.id in records}
            groups = defaultdict(list)
            for i in alive:
                groups[plan.groups[i]].append(i)
            kept = survivors(groups, found, prepared.metric, prepared.goal, eta)
            ran.notes.append(f"halving, after epoch {stop} of {epochs}: {len(kept)} of {len(alive)} go on")
            alive, before = {i: trial for i, trial in alive.items() if i in kept}, stop
    return ran


def _call_size(prepared: Prepared, trials: int, eta: int, stops: int) -> int:
    engine = prepared.plan.workload.run
    assert isinstance(engine, Workload)
    lanes = max(2, jax.local_device_count()) * engine.vector_width(jax.default_backend())
    return max(lanes, -(-trials // eta ** (stops - 1)))


def best_so_far(prepared: Prepared) -> Callable[[Record], str]:
    """A remark for the progress bar: the best value among the records that it is called with."""
    sign = 1 if prepared.goal == "minimize" else -1
    known: list[float] = []

    def remark(record: Record) -> str:
        value = record.figures.get(prepared.metric)
        if isinstance(value, (int, float)) and record.status in ("ok", "flagged"):
            known[:] = [min([*known, sign * value])]
        return f"best {prepared.metric} {sign * known[0]:.4g}" if known else ""

    for record in prepared.plan.known.values():
        remark(record)
    return remark
