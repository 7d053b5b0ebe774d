from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from sweepflow.errors import ConfigError
from sweepflow.report.trials.view import TrialsView
from sweepflow.store.record import Record

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


def test_true_and_one_are_two_settings(trial: Trial, view_of: ViewOf) -> None:
    assert view_of([trial(nesterov=True), trial(nesterov=1)]).varying == ("nesterov",)
    assert view_of([trial(rate=1.0), trial(rate=1)]).varying == ()


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
