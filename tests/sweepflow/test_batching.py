"""Laws of cutting trials into groups and batches."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from sweepflow.batching import Batch, batch_from_json, batches, shared_out
from sweepflow.compose import compose_llc
from sweepflow.engine.workload import Trial
from sweepflow.estimates.workload import LLC, estimate_trial
from sweepflow.schema.data import TeacherStudentData
from sweepflow.schema.model import MlpModel
from sweepflow.schema.target import TargetConfig, TrainingConfig
from sweepflow.targets.workload import TARGET, target_trial

targets = st.builds(
    lambda width, n_data, data_seed, rate, seed: TargetConfig(
        model=MlpModel(widths=(width,)),
        data=TeacherStudentData(n_data=n_data, seed=data_seed),
        target=TrainingConfig(learning_rate=rate, seed=seed),
    ),
    width=st.integers(1, 2),
    n_data=st.sampled_from([50, 60]),
    data_seed=st.integers(0, 3),
    rate=st.sampled_from([0.1, 0.01, 0.001]),
    seed=st.integers(0, 20),
)
trial_lists = st.lists(targets.map(target_trial), max_size=40, unique_by=lambda trial: trial.id)
batch_sizes = st.integers(1, 45) | st.just("auto")

Trials = list[Trial[TargetConfig]]
Size = int | Literal["auto"]


def cut(trials: Trials, batch_size: Size) -> list[Batch[TargetConfig]]:
    size = shared_out(1) if batch_size == "auto" else batch_size
    return batches(TARGET, trials, size, lambda config: config.data)


def program(trial: Trial[TargetConfig]) -> str:
    return TARGET.program_key(trial.config)


@given(trial_lists, batch_sizes)
def test_every_trial_is_in_exactly_one_batch(trials: Trials, batch_size: Size) -> None:
    found = Counter(trial.id for batch in cut(trials, batch_size) for trial in batch.trials)
    assert found == Counter(trial.id for trial in trials)


@given(trial_lists, batch_sizes)
def test_a_batch_is_of_one_program_and_a_program_is_of_one_size(trials: Trials, batch_size: Size) -> None:
    shapes = defaultdict(set)
    for batch in cut(trials, batch_size):
        (key,) = {program(trial) for trial in batch.trials}
        shapes[key].add((batch.size, batch.datasets, batch.of, batch.label))
    assert all(len(shape) == 1 for shape in shapes.values())
    assert len(shapes) == len({program(trial) for trial in trials})


@given(trial_lists, batch_sizes)
def test_sizes_are_even_and_only_the_last_batch_is_padded(trials: Trials, batch_size: Size) -> None:
    members = Counter(program(trial) for trial in trials)
    for batch in cut(trials, batch_size):
        count = members[program(batch.trials[0])]
        assert batch.size <= (count if batch_size == "auto" else batch_size)
        if batch.number < batch.of:
            assert len(batch.trials) == batch.size
        assert 1 <= len(batch.trials) <= batch.size
        # The fewest batches that the bound allows, and the smallest size that gives no more of them.
        fewest = 1 if batch_size == "auto" else math.ceil(count / batch_size)
        assert batch.of <= fewest
        assert batch.size == math.ceil(count / fewest)


@given(trial_lists, batch_sizes)
def test_batches_are_numbered_within_their_group_and_groups_come_as_asked(
    trials: Trials, batch_size: Size
) -> None:
    cuts = cut(trials, batch_size)
    keys = [program(batch.trials[0]) for batch in cuts]
    assert list(dict.fromkeys(keys)) == list(dict.fromkeys(program(trial) for trial in trials))
    for key in set(keys):
        group = [batch for batch, its in zip(cuts, keys, strict=True) if its == key]
        assert [batch.number for batch in group] == list(range(1, len(group) + 1))
        assert {batch.of for batch in group} == {len(group)}


@given(trial_lists)
def test_auto_is_one_batch_a_group(trials: Trials) -> None:
    cuts = cut(trials, "auto")
    assert len(cuts) == len({program(trial) for trial in trials})
    assert all(len(batch.trials) == batch.size for batch in cuts)


@given(trial_lists, batch_sizes)
def test_trials_on_one_data_set_lie_side_by_side_and_their_program_holds_enough(
    trials: Trials, batch_size: Size
) -> None:
    order = [trial.id for trial in trials]
    groups: dict[str, list[Trial[TargetConfig]]] = defaultdict(list)
    for batch in cut(trials, batch_size):
        assert len({trial.config.data for trial in batch.trials}) <= batch.datasets <= batch.size
        groups[program(batch.trials[0])] += batch.trials
    for members in groups.values():
        runs = [a.config.data for a, b in zip(members, [*members[1:], None], strict=True) if changes(a, b)]
        assert len(runs) == len(set(runs))
        for data in runs:  # and among them, as asked
            asked = [order.index(trial.id) for trial in members if trial.config.data == data]
            assert asked == sorted(asked)


def changes(before: Trial[TargetConfig], after: Trial[Any] | None) -> bool:
    return after is None or before.config.data != after.config.data


def test_traced_numbers_and_seeds_share_a_group_and_shapes_do_not() -> None:
    overrides = [
        "sampler=sgld,hmc",
        "sampler.gamma=1,10",
        "sampler.seed=1,2,3",
        "target.learning_rate=0.1,0.01",
        "data.noise_scale=0.1,0.2",
    ]
    trials = [estimate_trial(config.estimate()) for config in compose_llc(overrides)]
    cuts = batches(LLC, trials, shared_out(1), lambda config: config.target.data)
    assert [(len(batch.trials), batch.size, batch.datasets) for batch in cuts] == [(24, 24, 2)] * 2
    trials = [estimate_trial(c.estimate()) for c in compose_llc(["sampler.chains=2,3", "data.n_data=50,60"])]
    assert len(batches(LLC, trials, shared_out(1), lambda config: config.target.data)) == 4


@given(trial_lists, st.integers(1, 9))
def test_a_group_shared_out_gives_no_worker_two_batches_of_it(trials: Trials, workers: int) -> None:
    members = Counter(program(trial) for trial in trials)
    for batch in batches(TARGET, trials, shared_out(workers), lambda config: config.data):
        count = members[program(batch.trials[0])]
        assert batch.of == math.ceil(count / math.ceil(count / workers)) <= workers


@given(trial_lists)
def test_a_batch_goes_through_json_unchanged(trials: Trials) -> None:
    for batch in cut(trials, 3):
        content = json.loads(json.dumps(batch.to_json()))
        assert batch_from_json(content, TargetConfig) == batch
        assert content["name"] == batch.name


def test_a_part_of_a_batch_keeps_its_program() -> None:
    (batch,) = cut(
        [
            target_trial(
                TargetConfig(
                    model=MlpModel(widths=(1,)),
                    data=TeacherStudentData(n_data=50),
                    target=TrainingConfig(seed=seed),
                )
            )
            for seed in range(4)
        ],
        "auto",
    )
    ids = {trial.id for trial in batch.trials[1:3]}
    part = batch.part(ids)
    assert {trial.id for trial in part.trials} == ids and part.size == batch.size == 4


def test_a_batch_is_named_for_people() -> None:
    configs = compose_llc(["target.seed=range(5)", "sampler=hmc"])
    trials = [estimate_trial(config.estimate()) for config in configs]
    cuts = batches(LLC, trials, 2, lambda config: config.target.data)
    assert [batch.name.split(", ", 1)[1] for batch in cuts] == [
        "batch 1 of 3, 2 trials",
        "batch 2 of 3, 2 trials",
        "batch 3 of 3, 1 trial",
    ]
    assert cuts[0].name.startswith("hmc on mlp d=")
