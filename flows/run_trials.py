"""Run the plan of a sweep of trials: in batches, one by one, in whichever way is cheaper, or by halving."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax

from sweepflow.batching import Batch
from sweepflow.engine.program import call_lanes
from sweepflow.engine.workload import Trial, Workload
from sweepflow.flows.job import Job, Outcome
from sweepflow.flows.prepare_trials import Prepared, SweepOptions
from sweepflow.flows.run_jobs import run_jobs
from sweepflow.flows.runners.asked import Asked
from sweepflow.flows.runners.pool import Pool
from sweepflow.report.trials.view import value_of
from sweepflow.storage.leases import Leases
from sweepflow.storage.record import Record
from sweepflow.tasks.progress import SweepProgress
from sweepflow.trials.halving import call_size, repeats, rungs, survivors
from sweepflow.trials.modes import choose, measured, predict, probe_trials
from sweepflow.trials.plan import cut, cut_for, group_labels, labelled


@dataclass
class Ran:
    """Outcome of running a sweep.

    Attributes:
        outcome: Outcome of its batches.
        notes: Notes for the user.
        stopped: Trials that halving ended early, by id: the id of the record that each trial has instead of
            its own, and the rung.
    """

    outcome: Outcome = field(default_factory=Outcome)
    notes: list[str] = field(default_factory=list)
    stopped: dict[str, tuple[str, int]] = field(default_factory=dict)


Run = Callable[..., None]
"""Function that runs batches, on request one trial after the other, and adds to an outcome."""


def run_trials(
    prepared: Prepared,
    options: SweepOptions,
    progress: SweepProgress,
    workers: Asked,
    leases: Leases,
    ran: Ran,
) -> None:
    """Run the trials that the store lacks, in the way that was asked for.

    Args:
        prepared: The sweep.
        options: Options of the sweep.
        progress: Progress display, which is told how far the sweep is.
        workers: Workers that run the trials.
        leases: Leases that tell which of its trials other sweeps run.
        ran: Outcome of the sweep, which is updated as soon as there is something to add.
    """
    if not prepared.plan.batches and options.halving is None:  # no workers are asked for
        return
    with workers.pool(prepared.plan.runner, prepared.store) as pool:
        _run_trials(prepared, options, partial(_run, prepared, pool, leases, progress), ran)


def _run_trials(prepared: Prepared, options: SweepOptions, run: Run, ran: Ran) -> None:
    missing = [t for t in prepared.plan.drawn.trials.values() if t.id not in prepared.plan.known]
    if options.halving is not None:
        _by_halving(prepared, options.halving, run, ran)
        return
    way: str = options.mode
    if way == "auto":
        way, missing = _probe(prepared, missing, run, ran)
    if way == "padded" and prepared.plan.workload.pad is not None:
        missing = prepared.plan.workload.pad(missing)
    runner = prepared.plan.runner
    batches = cut_for(runner, prepared.plan.workload, missing)
    run(ran.outcome, batches, way == "sequential")


def _run(
    prepared: Prepared,
    pool: Pool,
    leases: Leases,
    progress: SweepProgress,
    outcome: Outcome,
    batches: Sequence[Batch[Any]],
    one_by_one: bool = False,
) -> None:
    batches = labelled(batches, prepared.plan.groups)
    ids = {trial.id: batch.name for batch in batches for trial in batch.trials}
    one_call = isinstance(prepared.plan.workload.run, Workload) and not one_by_one
    progress.expect(ids, len(batches), ids if one_call else {})
    jobs = [Job(prepared.plan.workload.path, batch, one_by_one=one_by_one) for batch in batches]
    run_jobs(jobs, prepared.plan.runner, prepared.store, progress, pool, outcome, leases)


def _probe(prepared: Prepared, missing: list[Trial[Any]], run: Run, ran: Ran) -> tuple[str, list[Trial[Any]]]:
    """Run one call of each way on real trials, and predict the rest from their times.

    Trials that a probe has run are done, because their results are the same in any other way. Trials that a
    probe could not run are run again with the rest.
    """
    plan, engine, pad = prepared.plan, prepared.plan.workload.run, prepared.plan.workload.pad
    if not missing or not isinstance(engine, Workload):
        return "batched", missing
    groups = defaultdict(list)
    for trial in missing:
        groups[plan.groups[trial.id]].append(trial)
    lanes = call_lanes(engine.vector_width(jax.default_backend()))
    ways = probe_trials(list(groups.values()), lanes, padded=pad is not None and len(groups) > 1)
    sizes = {way: [len(members) for members in groups.values()] for way in ways}
    if pad is not None and "padded" in ways:
        padded = pad(missing)
        sizes["padded"] = list(Counter(group_labels(plan.workload, padded).values()).values())
        chosen = {trial.id for trial in ways["padded"]}
        ways["padded"] = [trial for trial in padded if trial.id in chosen]
    predictions = {}
    for way, trials in ways.items():
        one_by_one = way == "sequential"
        # Of several programs that the padded trials need, one call of each.
        batches = cut(plan.workload, trials, lanes)
        # What a probe could not run is run again with the rest, so its failures are no news.
        run(Outcome(states=ran.outcome.states), batches, one_by_one)
        found = measured(list(prepared.store.known(t.id for t in batches[0].trials).values()), lanes)
        if found is not None:
            probe = replace(found, lanes=1) if one_by_one else found
            predictions[way] = predict(way, sizes[way], probe)
    way, why = choose(predictions)
    ran.notes.append(why)
    done = prepared.store.finished(trial.id for trial in missing)
    return way, [trial for trial in missing if trial.id not in done]


def _by_halving(prepared: Prepared, eta: int, run: Run, ran: Ran) -> None:
    """Run the trials of one rung after another, and keep the best of each group after each rung."""
    plan, until, engine = prepared.plan, prepared.plan.workload.until, prepared.plan.workload.run
    assert until is not None and isinstance(engine, Workload)  # `prepare_trials` refuses others
    lanes = call_lanes(engine.vector_width(jax.default_backend()))
    schedules: dict[int, dict[str, Trial[Any]]] = defaultdict(dict)
    for trial in plan.drawn.trials.values():
        schedules[trial.config.epochs][trial.id] = trial
    for epochs, alive in schedules.items():
        stops, before = rungs(epochs, eta), 0
        members = Counter(plan.groups[i] for i in alive)
        for number, stop in enumerate(stops, 1):
            last = stop == epochs
            here = {i: until(trial, None if last else stop, before) for i, trial in alive.items()}
            ran.stopped |= {i: (trial.id, number) for i, trial in here.items()}
            known = prepared.store.finished(trial.id for trial in here.values())
            batches = []
            for group, trials in members.items():
                todo = [t for i, t in here.items() if plan.groups[i] == group and t.id not in known]
                hold = call_size(trials, eta, len(stops), lanes)
                parts = cut(plan.workload, todo, plan.runner.batch_size, hold)
                batches += labelled(parts, {trial.id: group for trial in todo})
            run(ran.outcome, batches)
            records = prepared.store.known(trial.id for trial in here.values())
            if last or any(trial.id not in records for trial in here.values()):
                break  # to choose without having seen all would choose differently the next time
            found = {i: records[trial.id] for i, trial in here.items()}
            groups = defaultdict(list)
            for ids in repeats(alive.values(), plan.workload.seed_key):
                groups[plan.groups[ids[0]]].append(ids)
            kept = survivors(groups, found, prepared.aim.metric, prepared.aim.goal, eta)
            ran.notes.append(f"halving, after epoch {stop} of {epochs}: {len(kept)} of {len(alive)} go on")
            alive, before = {i: trial for i, trial in alive.items() if i in kept}, stop


def best_so_far(prepared: Prepared) -> Callable[[Record], str]:
    """Return a function that makes a remark for the progress bar: the best value among the known records and
    the records that the function was called with."""
    metric, sign = prepared.aim.metric, prepared.aim.sign
    known: list[float] = []

    def remark(record: Record) -> str:
        value = value_of(record, metric)
        if value is not None:
            known[:] = [min([*known, sign * value])]
        return f"best {metric} {sign * known[0]:.4g}" if known else ""

    for record in prepared.plan.known.values():
        remark(record)
    return remark
