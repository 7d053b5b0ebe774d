from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sweepflow.report.trials.charts.importance import importance_chart
from sweepflow.report.trials.dimension import dimensions
from sweepflow.report.trials.importance import MAX_CONFIGURATIONS, MIN_CONFIGURATIONS, MIN_R2, importance
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def landscape(trial: Trial, view_of: ViewOf, count: int, idle: bool = False, repeats: int = 1) -> TrialsView:
    """A loss that is (x - 0.3)² and a little of the kind, or noise alone; y does nothing."""
    random = np.random.default_rng(3)
    records = []
    for _ in range(count):
        x, y, kind = float(random.uniform()), float(random.uniform()), str(random.choice(["a", "b"]))
        value = float(random.normal()) if idle else (x - 0.3) ** 2 + 0.02 * (kind == "a")
        records += [trial(value, x=x, y=y, kind=kind, seed=seed) for seed in range(repeats)]
    return view_of(records)


def test_the_keys_that_matter_are_found_in_their_order(trial: Trial, view_of: ViewOf) -> None:
    view = landscape(trial, view_of, 120)
    axes = dimensions(view)
    found = importance(view, axes)
    assert [axes[i].key for i in found.order] == ["x", "kind", "y"]
    assert found.means_something and found.r2 is not None and found.r2 > 0.7
    assert found.mean[found.order[0]] > 5 * abs(found.mean[found.order[2]])
    chart = importance_chart(view, axes, found)
    assert chart is not None and "R² = 0." in chart.note and "n = 120" in chart.note
    assert "mean nothing" not in chart.note
    assert float(found.mean.max()) > found.r2 and "A loss can exceed R²" in chart.note
    # The most important bar is on top.
    assert chart.panels[0].figure["layout"]["yaxis"]["ticktext"] == ["y", "kind", "x"]


def test_noise_is_said_to_mean_nothing(trial: Trial, view_of: ViewOf) -> None:
    view = landscape(trial, view_of, 80, idle=True)
    found = importance(view, dimensions(view))
    assert not found.means_something and found.r2 is not None and found.r2 < MIN_R2
    chart = importance_chart(view, dimensions(view), found)
    assert chart is not None and "these bars mean nothing" in chart.note
    assert chart.panels[0].figure["data"][0]["marker"]["color"] == "white"


def test_repeats_do_not_help_to_know_what_was_not_seen(trial: Trial, view_of: ViewOf) -> None:
    """A repeat of a configuration in the other fold would let the forest look noise up."""
    view = landscape(trial, view_of, 60, idle=True, repeats=4)
    found = importance(view, dimensions(view))
    assert found.n == 60 and not found.means_something


def test_too_few_trials_say_so(trial: Trial, view_of: ViewOf) -> None:
    view = landscape(trial, view_of, MIN_CONFIGURATIONS - 1)
    axes = dimensions(view)
    found = importance(view, axes)
    assert found.too_few and not found.means_something
    # Still ordered, by rank correlation: other charts need an order.
    assert sorted(found.order) == [0, 1, 2]
    chart = importance_chart(view, axes, found)
    assert chart is not None and chart.panels == ()
    assert (
        chart.note == "19 configurations with a value: too few to say what matters among 3 keys; it takes 20."
    )


def test_many_trials_are_thinned(trial: Trial, view_of: ViewOf) -> None:
    view = landscape(trial, view_of, MAX_CONFIGURATIONS + 300)
    axes = dimensions(view)
    found = importance(view, axes)
    assert found.used <= MAX_CONFIGURATIONS and found.n == MAX_CONFIGURATIONS + 300
    chart = importance_chart(view, axes, found)
    assert chart is not None and f"n = {found.used:,} of 1,300" in chart.note


def test_the_direction_does_not_matter(trial: Trial, view_of: ViewOf) -> None:
    view = landscape(trial, view_of, 60)
    turned = view_of(view.records, metric="validation_accuracy", goal="maximize")
    found, other = importance(view, dimensions(view)), importance(turned, dimensions(turned))
    np.testing.assert_array_equal(found.mean, other.mean)


def test_one_key_has_no_importance_of_its_own(trial: Trial, view_of: ViewOf) -> None:
    view = view_of([trial(0.1 * i, x=0.37 * i) for i in range(30)])
    axes = dimensions(view)
    assert importance_chart(view, axes, importance(view, axes)) is None
