"""Run the plan of a sweep of trials: in batches, one by one, in whichever way is cheaper, or by halving."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax

from sweepflow.batching import Batch, WorkUnit
from sweepflow.engine.program import call_lanes
from sweepflow.engine.workload import Trial, Workload
from sweepflow.flows.dispatch.outcome import Outcome
from sweepflow.flows.dispatch.work import Work
from sweepflow.report.trials.view import value_of
from sweepflow.storage.record import Record
from sweepflow.trials.halving import call_size, repeats, rungs, survivors
from sweepflow.trials.modes import choose, measured, predict, probe_trials
from sweepflow.trials.plan import cut, cut_for, group_labels, labelled
from sweepflow.trials.prepare import PreparedTrials
from sweepflow.trials.result import note_in_manifest

Run = Callable[..., None]
"""Function that runs batches, on request one trial after the other, and adds to an outcome."""


def run_trials(work: Work[PreparedTrials]) -> None:
    """Run the trials that the store lacks, in the way that was asked for."""
    prepared, outcome = work.prepared, work.outcome
    plan, options = prepared.plan, prepared.options
    note_in_manifest(
        prepared.store.paths.sweep(plan.name),
        "started",
        command=prepared.command,
        trials=plan.trials,
        known=plan.hits,
    )
    run = partial(_run, work)
    if options.halving is not None:
        _by_halving(prepared, options.halving, run, outcome)
        return
    missing = [trial for trial in plan.drawn.trials.values() if trial.id not in plan.known]
    way: str = options.mode
    if way == "auto":
        way, missing = _probe(prepared, missing, run, outcome)
    if way == "padded" and plan.workload.pad is not None:
        missing = plan.workload.pad(missing)
    run(outcome, cut_for(plan.runner, plan.workload, missing), way == "sequential")


def _run(
    work: Work[PreparedTrials], outcome: Outcome, batches: Sequence[Batch[Any]], one_by_one: bool = False
) -> None:
    plan = work.prepared.plan
    units = [
        WorkUnit(plan.workload.path, batch, one_by_one=one_by_one) for batch in labelled(batches, plan.groups)
    ]
    one_call = isinstance(plan.workload.run, Workload) and not one_by_one
    work.run(units, one_call=one_call, outcome=outcome)


def _probe(
    prepared: PreparedTrials, missing: list[Trial[Any]], run: Run, outcome: Outcome
) -> tuple[str, list[Trial[Any]]]:
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
        run(Outcome(states=outcome.states), batches, one_by_one)
        found = measured(list(prepared.store.known(t.id for t in batches[0].trials).values()), lanes)
        if found is not None:
            probe = replace(found, lanes=1) if one_by_one else found
            predictions[way] = predict(way, sizes[way], probe)
    way, why = choose(predictions)
    outcome.notes.append(why)
    done = prepared.store.finished(trial.id for trial in missing)
    return way, [trial for trial in missing if trial.id not in done]


def _by_halving(prepared: PreparedTrials, eta: int, run: Run, outcome: Outcome) -> None:
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
            outcome.stopped |= {i: (trial.id, number) for i, trial in here.items()}
            known = prepared.store.finished(trial.id for trial in here.values())
            batches = []
            for group, trials in members.items():
                todo = [t for i, t in here.items() if plan.groups[i] == group and t.id not in known]
                hold = call_size(trials, eta, len(stops), lanes)
                parts = cut(plan.workload, todo, plan.runner.batch_size, hold)
                batches += labelled(parts, {trial.id: group for trial in todo})
            run(outcome, batches)
            records = prepared.store.known(trial.id for trial in here.values())
            if last or any(trial.id not in records for trial in here.values()):
                break  # to choose without having seen all would choose differently the next time
            found = {i: records[trial.id] for i, trial in here.items()}
            groups = defaultdict(list)
            for ids in repeats(alive.values(), plan.workload.seed_key):
                groups[plan.groups[ids[0]]].append(ids)
            kept = survivors(groups, found, prepared.aim.metric, prepared.aim.goal, eta)
            outcome.notes.append(
                f"halving, after epoch {stop} of {epochs}: {len(kept)} of {len(alive)} go on"
            )
            alive, before = {i: trial for i, trial in alive.items() if i in kept}, stop


def best_so_far(prepared: PreparedTrials) -> Callable[[Record], str]:
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
