from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweepflow.errors import ConfigError
from sweepflow.report.trials.charts.groups import groups_chart
from sweepflow.report.trials.dimension import dimensions
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def test_only_trials_that_finished_have_a_value(trial: Trial, view_of: ViewOf) -> None:
    view = view_of(
        [
            trial(0.3, at=0),
            trial(0.1, status="diverged", at=1),
            trial(0.2, status="flagged", at=2),
            trial(math.inf, at=3),
            trial(None, status="failed", at=4),
        ]
    )
    np.testing.assert_array_equal(view.values, [0.3, np.nan, 0.2, np.nan, np.nan])
    assert view.by_merit.tolist() == [2, 0]
    assert view.lost.tolist() == [1, 3, 4]
    assert view.counts == {"ok": 2, "flagged": 1, "diverged": 1, "failed": 1}


def test_more_is_better_where_it_is_to_be_maximised(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(v, at=i) for i, v in enumerate((0.4, 0.8, 0.2))]
    view = view_of(records, metric="validation_accuracy", goal="maximize")
    assert view.by_merit.tolist() == [2, 0, 1]


def test_what_varies_is_what_differs_but_for_the_seed(trial: Trial, view_of: ViewOf) -> None:
    view = view_of(
        [
            trial(seed=0, optimizer="adam", model={"kind": "mlp", "widths": [64]}),
            trial(seed=1, optimizer="sgd", momentum=0.9, model={"kind": "mlp", "widths": [64, 32]}),
        ]
    )
    assert view.varying == ("optimizer", "model.widths", "momentum")
    assert view.names == {"optimizer": "optimizer", "model.widths": "widths", "momentum": "momentum"}
    assert view.label(1) == "optimizer=sgd widths=64×32 momentum=0.9"
    assert view_of(view.records, seed_key=None).varying[-2:] == ("seed", "momentum")


def test_the_digest_of_a_file_that_another_key_names_is_no_setting(trial: Trial, view_of: ViewOf) -> None:
    named = [trial(1.0, args={"config": name}, sha256=digest) for name, digest in [("a", "0"), ("b", "1")]]
    assert view_of(named).varying == ("args.config",)
    edited = [trial(1.0, args={"config": "a"}, sha256=digest) for digest in "01"]
    assert view_of([*named, *edited]).varying == ("args.config", "sha256")


def test_names_that_would_be_confused_stay_whole(trial: Trial, view_of: ViewOf) -> None:
    view = view_of(
        [
            trial(schedule={"kind": "a", "rate": 1, "steps": 3}, data={"rate": 1}),
            trial(schedule={"kind": "b", "rate": 2, "steps": 4}, data={"rate": 2}),
        ]
    )
    assert list(view.names.values()) == ["schedule.kind", "schedule.rate", "steps", "data.rate"]


def test_a_metric_that_no_trial_has_is_refused(trial: Trial, view_of: ViewOf) -> None:
    with pytest.raises(
        ConfigError, match=r"got: +valdation_loss\n.*train_loss.*\n.*did you mean 'validation_loss'"
    ):
        view_of([trial(0.3)], metric="valdation_loss")
    # Where nothing finished nobody can tell.
    assert view_of([trial(status="failed")], metric="anything").by_merit.size == 0


def test_an_unknown_goal_is_refused(view_of: ViewOf) -> None:
    with pytest.raises(ConfigError, match="did you mean 'minimize'"):
        view_of([], goal="minimise")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1, 1.0, True, "1", [1], [True]], ["1", "1.0", "true", '"1"', "[1]", "[true]"]),
        ([0.1, 0.10000001], ["0.1", "0.10000001"]),
        (
            [f"/data/{letter}/{'x' * 40}" for letter in "ab"],
            [f"/data/{letter}/{'x' * 40}" for letter in "ab"],
        ),
        ([0.001, 0.01], ["0.001", "0.01"]),
    ],
)
def test_settings_that_differ_are_configurations_of_their_own_and_read_differently(
    values: list[Any], shown: list[str], trial: Trial, view_of: ViewOf
) -> None:
    """Each with a repeat, and each alone in its static group."""
    records = [trial(0.1 * i, pick=value, seed=seed) for i, value in enumerate(values) for seed in (0, 1)]
    view = view_of(records, groups={record.id: f"pick={record.config['pick']!r}" for record in records})
    assert view.varying == ("pick",)
    assert view.repeats == [(2 * i, 2 * i + 1) for i in range(len(values))]
    assert [view.text(2 * i, "pick") for i in range(len(values))] == shown
    assert len({view.label(place) for place in range(len(records))}) == len(values)
    (axis,) = dimensions(view)
    assert len(set(axis.at.tolist())) == len(values)
    assert groups_chart(view) is not None


def test_repeats_that_are_of_several_groups_have_a_best_in_each(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(value, seed=seed) for seed, value in enumerate([0.3, 0.1, 0.2])]
    chart = groups_chart(view_of(records, groups={r.id: f"seed={r.config['seed']}" for r in records}))
    assert chart is not None
