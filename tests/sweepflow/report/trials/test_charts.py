from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from sweepflow.report.charts.panel import Chart
from sweepflow.report.trials.charts.curves import curves_chart
from sweepflow.report.trials.charts.failures import failures_chart
from sweepflow.report.trials.charts.groups import MAX_GROUPS, groups_chart
from sweepflow.report.trials.charts.importance import importance_chart
from sweepflow.report.trials.charts.pairs import pairs_chart
from sweepflow.report.trials.charts.palette import STOPPED, colour_bar, distinct, toned
from sweepflow.report.trials.charts.parallel import MAX_LINES, MAX_LOST, parallel_chart
from sweepflow.report.trials.charts.progress import progress_chart
from sweepflow.report.trials.charts.response import MAX_MARKERS, response_chart
from sweepflow.report.trials.charts.scale import metric_scale
from sweepflow.report.trials.configurations import best, configurations
from sweepflow.report.trials.dimension import dimensions
from sweepflow.report.trials.importance import importance
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]
SweepOf = Callable[..., TrialsView]
Arrays = Callable[[Record], Mapping[str, np.ndarray]]

NAMES = [
    "typical",
    "repeats",
    "maximised",
    "grid",
    "one key",
    "one trial",
    "equals",
    "none finished",
    "one finished",
    "flagged",
    "enormous",
    "negative",
    "none",
]


def all_charts(view: TrialsView, arrays: Arrays) -> dict[str, Chart | None]:
    axes = dimensions(view)
    matter = importance(view, axes)
    ordered = [axes[i] for i in matter.order]
    return {
        "parallel": parallel_chart(view, ordered),
        "response": response_chart(view, ordered, configurations(view)),
        "importance": importance_chart(view, axes, matter),
        "pairs": pairs_chart(view, ordered),
        "groups": groups_chart(view),
        "curves": curves_chart(view, arrays),
        "progress": progress_chart([("a", view)]),
        "failures": failures_chart(view, ordered),
    }


def response_of(view: TrialsView, key: str) -> dict[str, Any]:
    axes = [axis for axis in dimensions(view) if axis.key == key]
    chart = response_chart(view, axes, configurations(view))
    assert chart is not None
    (panel,) = chart.panels
    return panel.figure


def trace(figure: dict[str, Any], name: str) -> dict[str, Any]:
    return next(data for data in figure["data"] if data.get("name") == name)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_what_plotly_knows_and_plain_json(
    name: str, cases: dict[str, TrialsView], arrays: Arrays
) -> None:
    """Plotly's own validation: a misspelt attribute or a wrong value raises. No NaN reaches a browser."""
    for chart in all_charts(cases[name], arrays).values():
        for panel in chart.panels if chart else ():
            go.Figure(panel.figure)
            json.dumps(panel.figure, allow_nan=False)


DRAWN = {
    "typical": {"parallel", "response", "importance", "pairs", "groups", "curves", "progress", "failures"},
    "one key": {"parallel", "response", "curves", "progress"},
    "one trial": {"curves", "progress"},
    "none finished": {"parallel", "response", "curves", "failures"},
    "none": set(),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_has_nothing_to_show_is_not_drawn(
    name: str, cases: dict[str, TrialsView], arrays: Arrays
) -> None:
    drawn = {key for key, chart in all_charts(cases[name], arrays).items() if chart is not None}
    assert drawn == DRAWN[name]


@pytest.mark.parametrize("name", ["typical", "maximised"])
def test_the_star_is_the_best_and_what_is_lost_lies_at_the_bad_end(
    name: str, cases: dict[str, TrialsView]
) -> None:
    view = cases[name]
    figure = response_of(view, "learning_rate")
    star, lost = trace(figure, "best"), trace(figure, "lost")
    (best,) = star["y"]
    others = [v for v in trace(figure, "trials")["y"] if v is not None]
    assert len(others) + 1 == len(view.by_merit) and len(lost["x"]) == len(view.lost)
    assert view.records[view.by_merit[0]].id in star["text"][0]
    if name == "typical":
        assert best <= min(others) and lost["y"][0] > max(others)
    else:
        assert best >= max(others) and lost["y"][0] < min(others)


def test_a_log_key_is_read_in_its_own_numbers(cases: dict[str, TrialsView]) -> None:
    axis = response_of(cases["typical"], "learning_rate")["layout"]["xaxis"]
    assert axis["ticktext"] == ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"][-len(axis["ticktext"]) :]
    np.testing.assert_allclose(axis["tickvals"], np.log10([float(t) for t in axis["ticktext"]]))
    assert axis["title"]["text"] == "learning_rate (log)"


def test_repeats_are_joined_at_one_place(cases: dict[str, TrialsView]) -> None:
    joined = response_of(cases["repeats"], "learning_rate")["data"][0]
    assert joined["mode"] == "lines"
    whole = [one for one in configurations(cases["repeats"]) if len(one.values) == 3]
    assert joined["x"].count(None) == len(whole)
    assert len(set(joined["x"][:3])) == 1 and joined["x"][3] is None


def test_flagged_trials_are_open(cases: dict[str, TrialsView]) -> None:
    assert set(trace(response_of(cases["flagged"], "learning_rate"), "trials")["marker"]["symbol"]) == {
        "circle-open"
    }


def test_one_enormous_loss_does_not_flatten_the_rest(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(0.2 + 0.01 * i, learning_rate=0.01 * (i + 1)) for i in range(20)]
    view = view_of(
        [*records, trial(-5000.0, learning_rate=9.0, optimizer="x")],
        metric="validation_accuracy",
        goal="maximize",
    )
    scale = metric_scale(view)
    assert scale.high > 1000 and not scale.log
    view = view_of(
        [*records, trial(5000.0, learning_rate=9.0)], metric="validation_accuracy", goal="maximize"
    )
    scale = metric_scale(view)
    assert scale.low > 0.5 and scale.outside(view.values) == 1
    # It is drawn at the bad end all the same.
    assert scale.low < scale.drawn(view.values)[-1] < min(scale.drawn(view.values)[:-1])  # type: ignore[operator, type-var]


def test_losses_over_decades_are_drawn_on_a_log_axis(trial: Trial, view_of: ViewOf) -> None:
    view = view_of([trial(10.0**-i, x=i) for i in range(5)])
    scale = metric_scale(view)
    assert scale.log and scale.axis["type"] == "log" and scale.title == "validation_loss (log)"
    np.testing.assert_allclose([v for v in scale.drawn(view.values) if v], view.values, rtol=0.3)
    # An accuracy is not, however small the worst.
    assert not metric_scale(
        view_of(
            [trial(4 - 4 * 10.0**-i, x=i) for i in range(4)], metric="validation_accuracy", goal="maximize"
        )
    ).log


def test_parallel_lines_end_at_the_metric_and_the_best_is_last(cases: dict[str, TrialsView]) -> None:
    view = cases["typical"]
    axes = dimensions(view)
    chart = parallel_chart(view, axes)
    assert chart is not None
    figure = chart.panels[0].figure
    lines = [data for data in figure["data"] if data["mode"].startswith("lines")]
    width = len(axes) + 2
    assert sum(len(line["x"]) for line in lines[:-1]) == width * len(view.records)
    assert lines[0]["line"]["dash"] == "dot"
    best = lines[-1]
    assert best["line"]["width"] == 3.0 and view.records[view.by_merit[0]].id in best["text"][-2]
    # Less is better: the best ends lowest, and what was lost above all others.
    ends = [line["y"][len(axes) :: width] for line in lines]
    assert best["y"][len(axes)] == min(min(e) for e in ends[1:])
    assert min(ends[0]) > max(max(e) for e in ends[1:])
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert {"sgd", "adam", "adamw", "none", "not set", "0.001", "lost"} <= set(texts)


def test_many_trials_are_capped_with_a_note(sweep_of: SweepOf, arrays: Arrays) -> None:
    view = sweep_of(3000)
    charts = all_charts(view, arrays)
    parallel, response = charts["parallel"], charts["response"]
    assert parallel is not None and response is not None
    axes = len(dimensions(view))
    lines = sum(data["x"].count(None) for data in parallel.panels[0].figure["data"])
    assert lines == MAX_LINES + MAX_LOST + 1
    assert f"{MAX_LINES} of {len(view.by_merit):,} trials with a value" in parallel.note
    markers = sum(len(d["x"]) for p in response.panels for d in p.figure["data"] if d["mode"] == "markers")
    assert markers <= 1.4 * MAX_MARKERS and len(response.panels) == axes
    assert f"of {len(view.by_merit):,} trials with a value" in response.note


def test_the_map_shows_the_median_of_each_cell(trial: Trial, view_of: ViewOf) -> None:
    records = [
        trial(i + 10 * j + s, learning_rate=10.0**-i, batch_size=2**j, seed=s)
        for i in range(3)
        for j in range(3)
        for s in (0, 1, 4)
    ]
    records[0] = trial(None, status="diverged", learning_rate=1.0, batch_size=1, seed=0)
    view = view_of(records)
    axes = {axis.key: axis for axis in dimensions(view)}
    chart = pairs_chart(view, [axes["batch_size"], axes["learning_rate"]])
    assert chart is not None and chart.heading == "batch_size and learning_rate"
    grid = chart.panels[0].figure["data"][0]
    # Rows are learning rates from small to large, columns batch sizes.
    assert grid["text"] == [["3", "13", "23"], ["2", "12", "22"], ["2.5 ×", "11", "21"]]
    assert grid["customdata"][2][0] == "median validation_loss = 2.5, n = 2; 1 diverged or failed"


def test_a_key_that_few_trials_have_is_not_mapped_first(sweep_of: SweepOf) -> None:
    view = sweep_of(128)
    axes = {axis.key: axis for axis in dimensions(view)}
    chart = pairs_chart(view, [axes["momentum"], axes["learning_rate"], axes["clip_norm"]])
    assert chart is not None and chart.heading == "learning_rate and clip_norm"
    assert "without a number for one of the two left out" in chart.note


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_groups_stand_by_their_median_with_their_counts(goal: str, trial: Trial, view_of: ViewOf) -> None:
    values = {"good": [0.1, 0.2, 0.3, 0.4, 0.5, 9.0], "bad": [0.6, 0.7], "gone": []}
    records = [trial(v, optimizer=name, seed=i) for name, ours in values.items() for i, v in enumerate(ours)]
    records += [trial(None, status="diverged", optimizer=name, seed=9) for name in ("bad", "gone")]
    metric = "validation_loss" if goal == "minimize" else "validation_accuracy"
    view = view_of(records, groups={r.id: r.config["optimizer"] for r in records}, metric=metric, goal=goal)
    chart = groups_chart(view)
    assert chart is not None and chart.note == "Without any value: gone."
    figure = chart.panels[0].figure
    # The first row of the axis is the lowest.
    assert figure["layout"]["yaxis"]["ticktext"] == ["bad (n = 2, 1 lost)", "good (n = 6)"]
    box = next(data for data in figure["data"] if data["type"] == "box")
    assert box["y"] == [1]
    expected = 0.35 if goal == "minimize" else 1 - 0.35 / 4
    assert box["median"][0] == pytest.approx(expected)
    stars = [
        data for data in figure["data"] if data["type"] == "scatter" and data["marker"]["symbol"] == "star"
    ]
    assert [records[6].id in stars[0]["text"][0], records[0].id in stars[1]["text"][0]] == [True, True]


def test_many_groups_are_cut(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(0.1 * (i + 1), width=i) for i in range(MAX_GROUPS + 5)]
    chart = groups_chart(view_of(records, groups={r.id: f"width {i}" for i, r in enumerate(records)}))
    assert chart is not None and chart.note == f"The best {MAX_GROUPS} of {MAX_GROUPS + 5} groups."


def test_curves_are_those_of_best_median_and_worst(trial: Trial, view_of: ViewOf, arrays: Arrays) -> None:
    records = [trial(v, learning_rate=v) for v in (0.5, 0.1, 0.9)]
    records.append(trial(None, status="diverged", learning_rate=7.0))
    asked: list[str] = []

    def counted(record: Record) -> Mapping[str, np.ndarray]:
        asked.append(record.id)
        return arrays(record)

    chart = curves_chart(view_of(records), counted)
    assert chart is not None
    assert asked == [records[i].id for i in (1, 0, 2, 3)]
    assert [style.label.split(" ")[0] for style in chart.legend] == [
        "best:",
        "median:",
        "worst:",
        "diverged:",
    ]
    assert all(
        record.id in style.label
        for style, record in zip(chart.legend, [records[i] for i in (1, 0, 2, 3)], strict=True)
    )
    # The metric's own curve comes first.
    assert [panel.title for panel in chart.panels] == ["validation_loss", "train_loss", "accuracy"]
    best = chart.panels[0].figure["data"][0]
    assert best["x"][0] == 1 and best["y"][-1] == pytest.approx(0.1 + 2 * np.exp(-11 / 3), rel=1e-3)
    # The one that diverged has no point after it did.
    assert chart.panels[0].figure["data"][3]["y"][6:] == [None] * 6
    assert "type" not in chart.panels[2].figure["layout"]["yaxis"]


def test_trials_without_arrays_have_no_curves(cases: dict[str, TrialsView]) -> None:
    assert curves_chart(cases["typical"], lambda record: {}) is None


def test_best_so_far_steps_at_improvements(trial: Trial, view_of: ViewOf) -> None:
    values = (0.9, 0.95, 0.5, 0.6, 0.4, 0.7)
    chart = progress_chart([("a", view_of([trial(v, at=i, x=i) for i, v in enumerate(values)]))])
    assert chart is not None and chart.legend == ()
    line = chart.panels[0].figure["data"][0]
    assert line["x"] == [1.0, 3.0, 5.0, 6.0] and line["y"] == [0.9, 0.5, 0.4, 0.4]
    assert [size > 0 for size in line["marker"]["size"]] == [True, True, True, False]


def test_losses_are_shown_where_they_happen(trial: Trial, view_of: ViewOf) -> None:
    records = [
        trial(0.5, optimizer=o, learning_rate=rate, seed=s)
        if rate < 1 or o == "b"
        else trial(None, status="diverged", optimizer=o, learning_rate=rate, seed=s)
        for o in ("a", "b")
        for rate in (0.01, 0.1, 1.0)
        for s in (0, 1)
    ]
    records[0] = replace(records[0], status="failed", figures={})
    view = view_of(records)
    chart = failures_chart(view, dimensions(view))
    assert chart is not None
    assert chart.reading.startswith("3 of 12 trials diverged or failed.")
    bars = {panel.title: panel.figure["data"] for panel in chart.panels}
    diverged, failed = bars["learning_rate"]
    assert diverged["y"] == [0.0, 0.0, 0.5] and failed["y"] == [0.25, 0.0, 0.0]
    assert diverged["text"] == ["0 of 4 diverged", "0 of 4 diverged", "2 of 4 diverged"]
    assert bars["optimizer"][0]["y"] == [pytest.approx(1 / 3, rel=1e-4), 0.0]
    # Told apart by hatching, not by colour alone.
    assert diverged["marker"]["pattern"]["shape"] != failed["marker"]["pattern"]["shape"]


def test_stretches_of_a_number_line_count_every_trial(sweep_of: SweepOf) -> None:
    view = sweep_of(200)
    chart = failures_chart(view, dimensions(view))
    assert chart is not None
    for panel in chart.panels:
        counts = [int(text.split(" of ")[1].split(" ")[0]) for text in panel.figure["data"][0]["text"]]
        assert sum(counts) == 200, panel.title
    # The learning rate decides what diverges here.
    assert chart.panels[0].title == "learning_rate"


def test_every_picture_marks_the_best_repeat_of_the_best_mean(
    trial: Trial, view_of: ViewOf, arrays: Arrays
) -> None:
    """A lucky repeat of a worse configuration is the best single trial, and is marked nowhere."""
    random = np.random.default_rng(0)
    records = []
    for i in range(24):
        x, y = (float(v) for v in random.uniform(0.1, 1.0, 2))
        values = (0.5 + 0.01 * i, 0.52 + 0.01 * i) if i else (0.1, 2.0)
        records += [trial(v, x=x, y=y, optimizer="ab"[i % 2], seed=s) for s, v in enumerate(values)]
    view = view_of(records)
    found, lucky = best(view), view.records[view.by_merit[0]].id
    assert found is not None and found.place == 2
    ident = view.records[found.place].id
    charts = all_charts(view, arrays)
    stars = {
        name: [
            data["text"]
            for panel in chart.panels
            for data in panel.figure["data"]
            if data.get("marker", {}).get("symbol") == "star"
        ]
        for name in ("parallel", "response", "pairs", "groups")
        if (chart := charts[name]) is not None
    }
    for name in ("parallel", "response", "pairs"):
        assert stars[name] and all(ident in str(text) and lucky not in str(text) for text in stars[name]), (
            name
        )
    # Each group has a star: the best of all is that of its own, and the other's is its best mean.
    assert sum(ident in str(text) for text in stars["groups"]) == 1 and lucky not in str(stars["groups"])
    curves = charts["curves"]
    assert (
        curves is not None and ident in curves.legend[0].label and curves.legend[0].label.startswith("best")
    )


def test_what_halving_stopped_is_told_from_the_rest(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(v, learning_rate=0.1 + i) for i, v in enumerate((0.1, 0.2, 0.3, 0.4))]
    records = [
        replace(r, figures={**r.figures, "rung": k}) for r, k in zip(records, (1, 2, 2, 1), strict=True)
    ]
    view = view_of(records)
    chart = response_chart(view, dimensions(view), configurations(view))
    assert chart is not None and STOPPED in chart.legend and "A grey triangle is a trial" in chart.reading
    figure = chart.panels[0].figure
    assert trace(figure, "stopped")["y"] == [0.1, 0.4] and trace(figure, "trials")["y"] == [0.3]
    assert (
        trace(figure, "best")["y"] == [0.2] and trace(figure, "stopped")["marker"]["symbol"] == STOPPED.symbol
    )


@pytest.mark.parametrize("name", ["typical", "maximised"])
def test_the_top_of_a_colour_bar_is_dark_and_good(name: str, cases: dict[str, TrialsView]) -> None:
    scale = metric_scale(cases[name])
    bar = colour_bar(scale)
    (worst, best_value) = toned(scale, cases[name].values[cases[name].by_merit[[-1, 0]]])
    assert bar["cmin"] <= worst < best_value <= bar["cmax"]
    darkness = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for _, colour in bar["colorscale"]]
    assert darkness[-1] < darkness[0]


def test_ticks_of_a_colour_bar_are_distinct(trial: Trial, view_of: ViewOf) -> None:
    assert distinct([(1.0, "0.2"), (0.75, "0.2"), (0.5, "0.5"), (0.0, "0.5")]) == [(1.0, "0.2"), (0.5, "0.5")]
    view = view_of([trial(v, learning_rate=0.1 + i) for i, v in enumerate((0.2, 0.2, 0.5))])
    chart = parallel_chart(view, dimensions(view))
    assert chart is not None
    bar = chart.panels[0].figure["data"][-1]["marker"]["colorbar"]
    assert dict(zip(bar["ticktext"], bar["tickvals"], strict=True)) == {"0.2": 1.0, "0.5": 0.0}


def test_empty_cells_are_hatched_and_marks_are_whole(trial: Trial, view_of: ViewOf) -> None:
    # On the diagonal, so that no cell beside it holds a trial.
    view = view_of([trial(0.1 + 0.01 * i, x=0.037 * i, y=0.041 * i) for i in range(20)])
    chart = pairs_chart(view, dimensions(view))
    assert chart is not None
    figure = chart.panels[0].figure
    empty = sum(value is None for row in figure["data"][0]["z"] for value in row)
    (hatch,) = figure["layout"]["shapes"]
    assert empty and hatch["path"].count("Z") == empty
    (low, high), cells = figure["layout"]["xaxis"]["range"], figure["data"][0]["x"]
    for marks in figure["data"][1:]:
        assert not marks["cliponaxis"] and low < min(marks["x"]) and max(marks["x"]) < high
    assert (low, high) == (cells[0], cells[-1])


def test_epochs_are_whole_numbers_from_one(trial: Trial, view_of: ViewOf, arrays: Arrays) -> None:
    chart = curves_chart(view_of([trial(0.5), trial(0.3, x=1)]), arrays)
    assert chart is not None
    axis = chart.panels[0].figure["layout"]["xaxis"]
    assert (
        axis["tickvals"] == [1, 2, 4, 6, 8, 10, 12]
        and 0 < axis["range"][0] < 1
        and 12 < axis["range"][1] < 13
    )
    assert axis["title"]["text"] == "epoch"


def test_what_an_external_program_has_printed_is_a_curve_of_points(trial: Trial, view_of: ViewOf) -> None:
    """Its METRIC lines may be of anything."""
    ran = [replace(trial(x, n=x), workload="command", figures={"loss": x}) for x in (0.5, 0.3, 0.1)]
    chart = curves_chart(
        view_of(ran, metric="loss"), lambda record: {"curve.loss": np.array([3.0, 1.0, 2.0])}
    )
    assert chart is not None
    figure = chart.panels[0].figure
    assert figure["layout"]["xaxis"]["title"]["text"] == "point"
    assert figure["data"][0]["y"] == [3, 1, 2] and "after point" in figure["data"][0]["hovertemplate"]


def test_losses_share_the_form_of_their_axis_and_a_still_learning_rate_has_no_panel(
    trial: Trial, view_of: ViewOf
) -> None:
    curves = {
        "curve.validation_loss": np.geomspace(5.0, 0.01, 6),
        "curve.train_loss": np.linspace(5.0, 1.0, 6),
        "curve.accuracy": np.linspace(0.01, 0.9, 6),
        "curve.learning_rate": np.full(6, 0.1),
    }
    view = view_of([trial(0.5), trial(0.3, x=1)])
    chart = curves_chart(view, lambda record: curves)
    assert chart is not None
    kinds = {panel.title: panel.figure["layout"]["yaxis"].get("type") for panel in chart.panels}
    assert kinds == {"validation_loss": "log", "train_loss": "log", "accuracy": None}
    # A loss of zero has no place on a log axis, and takes the other off it.
    none = curves_chart(view, lambda record: curves | {"curve.train_loss": np.linspace(5.0, 0.0, 6)})
    assert none is not None and "type" not in none.panels[0].figure["layout"]["yaxis"]
    falling = curves_chart(view, lambda record: curves | {"curve.learning_rate": np.geomspace(0.1, 1e-3, 6)})
    assert falling is not None and "learning_rate" in [panel.title for panel in falling.panels]
