"""What has to be run of a sweep: minus what the store has, grouped and cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepflow.compose import compose_trials
from sweepflow.engine.devices import worker_count
from sweepflow.engine.program import call_lanes
from sweepflow.jobs.sweepers import override
from sweepflow.schema.runner import DaskRunner, LocalRunner, SlurmRunner
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.draw import DesignOptions, draw_trials
from sweepflow.trials.plan import TrialsPlan, cut, group_labels, labelled, make_plan
from sweepflow.workloads import load_workload

GRID = ["workload=landscape", "optimizer=sgd,adam", "steps=5,6", "x=range(0,5)"]


def plan(
    store: Store, overrides: Sequence[str] = GRID, batch_size: Any = "auto", **settings: Any
) -> TrialsPlan:
    request = compose_trials(overrides)
    drawn = draw_trials(request, DesignOptions())
    runner = LocalRunner(batch_size=batch_size)
    return make_plan(request.workload, drawn, runner, store, settings.get("name"))


def put(store: Store, trial: Any, status: Any = "ok") -> None:
    store.put(Record(trial.id, "landscape", 1, status, (), trial.config.model_dump(mode="json"), {}))


def test_groups_and_batches(store: Store) -> None:
    found = plan(store, batch_size=3)
    assert (found.trials, found.hits, len(found.batches)) == (20, 0, 8)
    assert [len(batch.trials) for batch in found.batches] == [3, 2] * 4
    assert all(batch.size == 3 for batch in found.batches), "the last of a group is padded"
    assert sorted(t.id for batch in found.batches for t in batch.trials) == sorted(found.drawn.trials)
    assert len(plan(store).batches) == 4
    assert len(set(found.groups.values())) == 4
    for batch in found.batches:
        assert {found.groups[trial.id] for trial in batch.trials} == {batch.label}


def test_what_the_store_has_is_not_run_again(store: Store) -> None:
    trials = list(plan(store).drawn.trials.values())
    put(store, trials[0])
    put(store, trials[1], "diverged")
    put(store, trials[2], "failed")
    found = plan(store)
    assert set(found.known) == {trials[0].id, trials[1].id}
    left = {trial.id for batch in found.batches for trial in batch.trials}
    assert left == {trial.id for trial in trials[2:]}, "a failed one is"
    assert len(found.groups) == 20, "groups are of all trials"
    for trial in trials:
        put(store, trial)
    assert (len(plan(store).batches), plan(store).hits) == (0, 20)


def test_a_name_comes_from_what_is_asked_for(store: Store) -> None:
    found = plan(store)
    assert found.name.startswith("sweep-") and len(found.name) == 14
    assert plan(store, [GRID[0], "x=range(0,5)", *GRID[1:3]]).name == found.name, "in any order"
    assert plan(store, GRID[:3]).name != found.name
    assert plan(store, name="mine").name == "mine"


def test_groups_that_read_the_same_are_told_apart_by_what_they_differ_in(store: Store) -> None:
    workload: Any = load_workload("landscape")
    workload = replace(workload, run=replace(workload.run, label=lambda config: config.optimizer))
    trials = list(plan(store).drawn.trials.values())
    labels = group_labels(workload, trials)
    assert list(dict.fromkeys(labels.values())) == [
        "sgd steps=5",
        "sgd steps=6",
        "adam steps=5",
        "adam steps=6",
    ]
    for trial in trials:
        twins = [t for t in trials if labels[t.id] == labels[trial.id]]
        assert {(t.config.optimizer, t.config.steps) for t in twins} == {
            (trial.config.optimizer, trial.config.steps)
        }


def test_trials_of_an_external_program_are_one_group(store: Store) -> None:
    trials = list(plan(store).drawn.trials.values())
    workload: Any = replace(load_workload("landscape"), run=lambda trials, store, on_record=None: [])
    for size in ("auto", 8):
        (batch,) = cut(workload, trials, size)
        assert batch.trials == tuple(trials) and (batch.number, batch.of) == (1, 1)
    assert set(group_labels(workload, trials).values()) == {workload.name}


@pytest.mark.parametrize("runner", [SlurmRunner(), DaskRunner(workers=1), SlurmRunner(jobs=2)])
@pytest.mark.parametrize(
    ("size", "at_once", "most"), [(3, 4, 3), ("auto", 1, 5), ("auto", 8, 8), (99, 1, 20)]
)
def test_trials_of_an_external_program_keep_to_the_batch_size_on_workers(
    runner: Any, size: Any, at_once: int, most: int, store: Store
) -> None:
    """Of one worker too, which a trial may kill: the default of runner=slurm."""
    request = compose_trials(GRID)
    workload: Any = replace(request.workload, run=lambda trials, store, on_record=None: [])
    workload = replace(workload, at_once=lambda config: at_once)
    runner = runner.model_copy(update={"batch_size": size})
    found = make_plan(workload, draw_trials(request, DesignOptions()), runner, store, "mine")
    workers = worker_count(runner)
    assert all(len(batch.trials) <= most for batch in found.batches)
    assert len(found.batches) >= (workers if size == "auto" and at_once == 1 else -(-20 // most))
    assert [t.id for batch in found.batches for t in batch.trials] == list(found.drawn.trials)
    assert not any("batch_size" in note for note in found.drawn.notes)


def test_a_batch_size_without_effect_is_told_and_trials_know_their_sweep(store: Store) -> None:
    request = compose_trials(["workload=command", "command=echo", "metrics=[a]", "args.n=1,2,3"])
    drawn = draw_trials(request, DesignOptions())
    found = make_plan(request.workload, drawn, LocalRunner(batch_size=2), store, "mine")
    (batch,) = found.batches
    assert [trial.config.sweep for trial in batch.trials] == ["mine"] * 3
    assert [trial.id for trial in batch.trials] == list(drawn.trials)
    assert [note for note in found.drawn.notes if note.startswith("runner.batch_size=2 has no effect")]


def test_a_group_is_cut_into_few_batches_of_whole_calls(store: Store) -> None:
    found = plan(store, ["workload=digits_mlp", "seed=range(0,70)", "optimizer=adam,sgd"])
    lanes = call_lanes(1)
    for start in (0, 4):
        group = found.batches[start : start + 4]
        assert len({batch.size for batch in group}) == 1 and group[0].size % lanes == 0
        assert sum(len(batch.trials) for batch in group) == 70
    assert len(found.batches) == 8


def test_batches_that_are_to_share_a_program_hold_the_same(store: Store) -> None:
    """The rungs of halving: fewer trials, the same size."""
    workload = load_workload("landscape")
    trials = list(plan(store).drawn.trials.values())[:5]  # one group
    assert [(len(b.trials), b.size) for b in cut(workload, trials, "auto", hold=4)] == [(3, 4), (2, 4)]
    assert [(len(b.trials), b.size) for b in cut(workload, trials[:2], "auto", hold=4)] == [(2, 4)]
    assert [(len(b.trials), b.size) for b in cut(workload, trials, 2, hold=4)] == [(2, 4), (2, 4), (1, 4)]


def test_the_same_sweep_with_halving_has_another_name(store: Store) -> None:
    request = compose_trials(GRID)
    drawn = draw_trials(request, DesignOptions())
    names = {
        make_plan(request.workload, drawn, LocalRunner(), store, None, halving).name
        for halving in (None, 2, 3)
    }
    assert len(names) == 3


def test_groups_that_differ_in_their_inputs_only_are_numbered(store: Store) -> None:
    workload: Any = load_workload("landscape")
    key = workload.run.program_key
    engine = replace(
        workload.run,
        label=lambda config: config.optimizer,
        program_key=lambda config: f"{key(config)} {config.x % 2}",
    )
    trials = list(plan(store, GRID[:2] + GRID[3:]).drawn.trials.values())
    labels = group_labels(replace(workload, run=engine), trials)
    assert set(labels.values()) == {"sgd", "sgd #2", "adam", "adam #2"}


NESTED = """
from sweepflow.schema.fields import Config as Base, Traced

class Inner(Base):
    depth: int = 1
    kind: str = "a"

class Config(Base):
    x: Traced[float] = 0.5
    inner: Inner = Inner()

def run(config, inputs, key):
    return {"loss": config.x}
"""


def test_the_batches_of_groups_that_differ_in_nested_keys_read_differently(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "nested_lab.py"
    path.write_text(NESTED)
    grid = ["inner.depth=1,2", "inner.kind=a,b", "x=1,2"]
    found = plan(store, [override("workload", str(path)), *[f"+{text}" for text in grid]])
    labels = [batch.label for batch in found.batches]
    assert len(set(labels)) == 4 and set(found.groups.values()) == set(labels)
    assert "nested_lab a depth=1" in labels and "nested_lab b depth=2" in labels
    assert labelled(found.batches, {}) == found.batches
