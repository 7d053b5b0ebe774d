"""Paths over contours: what is drawn, how far the picture reaches, and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from sweepflow.engine.run import run_batch
from sweepflow.errors import ConfigError
from sweepflow.report.charts.panel import Chart
from sweepflow.report.trials.charts.descents import MAX_PATHS, MAX_POINTS, descents_chart
from sweepflow.report.trials.charts.terrain import GRID, contours, extent_of
from sweepflow.report.trials.page import render_trials
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.descents import descents_figure
from sweepflow.trials.result import TrialsSweep
from sweepflow.workloads import load_workload
from sweepflow.workloads.landscape import MINIMA, VALUES, Config

Arrays = Callable[[Record], Mapping[str, np.ndarray]]
Descent = Callable[..., Record]
ViewOf = Callable[..., TrialsView]

LANDSCAPE = load_workload("landscape")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "lion")
STRAIGHT = np.linspace([-1.5, 2.0], [1.0, 1.0], 30)


def drawn(view: TrialsView, arrays: Arrays) -> Chart:
    chart = descents_chart(view, arrays)
    assert chart is not None
    for panel in chart.panels:
        go.Figure(panel.figure)
        json.dumps(panel.figure, allow_nan=False)
    return chart


def lines(chart: Chart, panel: int = 0) -> list[dict[str, Any]]:
    """The lines of paths, without the white below them."""
    return [
        trace
        for trace in chart.panels[panel].figure["data"]
        if trace.get("mode") == "lines" and "name" in trace
    ]


def marks(chart: Chart, name: str, panel: int = 0) -> list[tuple[float, float]]:
    (found,) = [
        t for t in chart.panels[panel].figure["data"] if t.get("name") == name and t["mode"] == "markers"
    ]
    return list(zip(found["x"], found["y"], strict=True))


def ranges(chart: Chart) -> list[list[float]]:
    figure = chart.panels[0].figure["layout"]
    return [figure["xaxis"]["range"], figure["yaxis"]["range"]]


def test_a_panel_a_landscape_and_a_colour_an_optimizer(
    descent: Descent, landscape_view: ViewOf, arrays: Arrays
) -> None:
    records = [
        descent(STRAIGHT + 0.01 * i, landscape=name, optimizer=optimizer, learning_rate=0.01 * (i + 1))
        for name in ("himmelblau", "rosenbrock")
        for i, optimizer in enumerate(reversed(OPTIMIZERS))
        if (name, optimizer) != ("rosenbrock", "adam")
    ]
    chart = drawn(landscape_view(records), arrays)
    assert [panel.title for panel in chart.panels] == ["himmelblau", "rosenbrock"]
    assert [style.label for style in chart.legend] == [*OPTIMIZERS, "start", "global minimum"]
    colours = {style.label: style.colour for style in chart.legend}
    assert len({colours[name] for name in OPTIMIZERS}) == 5
    for panel, name in enumerate(("himmelblau", "rosenbrock")):
        ours = lines(chart, panel)
        assert all(line["line"]["color"] == colours[line["name"]] for line in ours)
        assert len(ours) == (5 if name == "himmelblau" else 4)
        np.testing.assert_allclose(marks(chart, "global minimum", panel), MINIMA[name], atol=1e-4)
        assert len(marks(chart, "start", panel)) == len(ours)
        assert len(marks(chart, "end of lion", panel)) == 1
    # Where only some are drawn they keep the colours that they have beside all others.
    few = drawn(landscape_view([r for r in records if r.config["optimizer"] in ("lion", "adam")]), arrays)
    assert {style.label: style.colour for style in few.legend}.items() <= colours.items()
    # Identical paths: the one on top is dashed.
    dashed = {line["name"] for line in lines(chart) if line["line"]["dash"] != "solid"}
    assert dashed == {"adamw"} and "adamw is dashed" in chart.reading
    assert "adamw" not in drawn(landscape_view(records[:1]), arrays).reading


@pytest.mark.parametrize("name", VALUES)
def test_contours_are_the_logarithm_of_the_landscape(name: str) -> None:
    extent = extent_of([np.array([[-1.5, 2.0], [0.5, -1.0]])], MINIMA[name])
    trace = contours(name, extent)
    x, y, z = (np.array(trace[key], dtype=float) for key in "xyz")
    levels = trace["contours"]
    assert z.shape == (GRID, GRID) and x[0] < MINIMA[name][:, 0].min() and y[-1] > 2.0
    for row, column in ((0, 0), (3, 110), (77, 20)):
        value = float(VALUES[name](np.float32(x[column]), np.float32(y[row])))  # type: ignore[arg-type]
        floor = levels["start"] - levels["size"]
        assert z[row, column] == pytest.approx(max(np.log10(value), floor), abs=5e-3)
    count = (levels["end"] - levels["start"]) / levels["size"]
    assert 3 <= count <= 15
    assert z.max() > z.min() + 1 and z.min() >= trace["zmin"] and z.max() <= trace["zmax"]
    assert len(trace["colorbar"]["ticktext"]) >= 3


def test_one_that_diverges_does_not_ruin_the_picture(
    descent: Descent, landscape_view: ViewOf, arrays: Arrays
) -> None:
    calm = [descent(STRAIGHT, optimizer="adam"), descent(STRAIGHT + 0.1, optimizer="lion")]
    steps = np.arange(30)[:, None]
    away = np.float32(STRAIGHT[0] + 0.3 * (-8.0) ** np.minimum(steps, 20) * np.ones(2))
    away[0], away[25:] = STRAIGHT[0], np.nan
    lost = descent(away, optimizer="sgd", status="diverged")
    only = drawn(landscape_view(calm), arrays)
    both = drawn(landscape_view([*calm, lost]), arrays)
    assert ranges(both) == ranges(only) and only.panels[0].alarm == ""
    assert both.panels[0].alarm == "1 of 3 paths leaves the picture: 1 of sgd; 1 diverged"
    assert [line["name"] for line in lines(both)] == ["sgd", "adam", "lion"], (
        "what diverged lies under the others"
    )
    thin, thick = lines(both)[0], lines(both)[1]
    assert thin["line"]["width"] < thick["line"]["width"]
    assert None not in thin["x"] and len(thin["x"]) < 5, "up to where it leaves"
    assert marks(both, "end of sgd") == [] and len(marks(both, "end of adam")) == 1
    assert len(marks(both, "start")) == 2, "a start that two share is marked once"


def test_one_that_swings_wide_and_comes_back_is_whole(
    descent: Descent, landscape_view: ViewOf, arrays: Arrays
) -> None:
    wide = STRAIGHT.copy()
    wide[10] = [-1.0, 3.0]
    (x, y) = ranges(drawn(landscape_view([descent(wide)]), arrays))
    assert y[1] > 3.0 and x[0] < -1.5
    wide[10] = [-1.0, 300.0]
    chart = drawn(landscape_view([descent(wide)]), arrays)
    assert ranges(chart)[1][1] < 3.0 and "1 of sgd" in chart.panels[0].alarm


@pytest.mark.parametrize(
    "path",
    [
        np.zeros((0, 2)),
        np.full((5, 2), np.nan),
        np.array([[1.0, 1.0]]),
        np.array([[0.5, 0.5], [np.nan, 0.0], [np.nan, np.nan]]),
        np.float32([[1e30, -3e38], [np.inf, 0.0]]),
        np.array([[1e9, 1e9], [0.0, 0.0]]),
        np.zeros(7),
    ],
    ids=["empty", "NaN", "one point", "NaN after one", "enormous", "far", "no points"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_odd_paths(path: np.ndarray, descent: Descent, landscape_view: ViewOf, arrays: Arrays) -> None:
    odd = descent(path, optimizer="sgd", status="diverged")
    begins = path.ndim == 2 and len(path) > 0 and bool(np.isfinite(path[0]).all())
    chart = drawn(landscape_view([odd]), arrays)
    assert len(chart.panels) == begins
    assert ("1 trial without a finite first point." in chart.note) != begins
    beside = drawn(landscape_view([odd, descent(STRAIGHT, optimizer="adam")]), arrays)
    assert [line["name"] for line in lines(beside)] == (["sgd", "adam"] if begins else ["adam"])
    assert render_trials("odd", "x", landscape_view([odd]), arrays).count("<h2>Descents</h2>") == 1


def test_a_long_path_is_drawn_by_few_points(descent: Descent, landscape_view: ViewOf, arrays: Arrays) -> None:
    angle = np.linspace(0, 60 * np.pi, 20_000)
    spiral = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.linspace(2, 0, 20_000)[:, None]
    still = np.concatenate([STRAIGHT, np.repeat(STRAIGHT[-1:], 5000, axis=0)])
    chart = drawn(landscape_view([descent(spiral), descent(still, optimizer="adam")]), arrays)
    long, short = lines(chart)
    assert len(long["x"]) == MAX_POINTS and len(short["x"]) == 31
    assert [long["customdata"][i][0] for i in (0, -1)] == [0, 19_999]
    assert short["customdata"][-1][0] == 5029 and [short["x"][-1], short["y"][-1]] == [1.0, 1.0]


def test_what_a_line_says(descent: Descent, landscape_view: ViewOf, arrays: Arrays) -> None:
    records = [descent(STRAIGHT, learning_rate=rate, loss=rate) for rate in (0.01, 0.125)]
    (first, second) = lines(drawn(landscape_view(records), arrays))
    assert "learning_rate=0.01" in first["hovertemplate"] and records[0].id in first["hovertemplate"]
    assert "loss = 0.125" in second["hovertemplate"]
    # Rosenbrock's function at (-1.5, 2) is 12.5, at its minimum 0.
    assert first["customdata"][0] == [0, "12.5"] and first["customdata"][-1] == [29, "0"]
    alone = lines(drawn(landscape_view(records[:1]), arrays))[0]
    assert "learning_rate=0.01" in alone["hovertemplate"], "also where it does not vary"


def test_of_ten_thousand_the_best_of_each_optimizer_are_drawn(
    descent: Descent, landscape_view: ViewOf
) -> None:
    random = np.random.default_rng(3)
    starts = random.uniform(-2, 2, (10_000, 2))
    records = [
        descent(np.stack([start, start / 2]), optimizer=OPTIMIZERS[i % 4], loss=float(i), x=float(start[0]))
        for i, start in enumerate(starts[::-1])
    ][::-1]
    loaded: list[str] = []

    def arrays(record: Record) -> Mapping[str, np.ndarray]:
        loaded.append(record.id)
        return record.arrays

    chart = drawn(landscape_view(records), arrays)
    assert len(loaded) == len(lines(chart)) == MAX_PATHS
    assert set(loaded) == {record.id for record in records[-MAX_PATHS:]}, "the ten best of each of four"
    assert chart.note == "40 of 10,000 paths: the best of each optimizer by loss."


def test_a_sweep_that_kept_no_path_says_how_to(
    descent: Descent, landscape_view: ViewOf, arrays: Arrays, cases: dict[str, TrialsView]
) -> None:
    kept, bare = descent(STRAIGHT), descent(None, learning_rate=0.5)
    none = drawn(landscape_view([bare]), arrays)
    assert none.panels == () and "keep_path=true" in none.reading
    html = render_trials("bare", "x", landscape_view([bare]), arrays)
    assert "keep_path=true" in html and '"type":"contour"' not in html
    some = drawn(landscape_view([kept, bare]), arrays)
    assert some.note == "1 trial without a path (keep_path=true keeps it)."
    failed = replace(descent(STRAIGHT, learning_rate=0.7), status="failed", arrays={}, figures={})
    beside = drawn(landscape_view([kept, failed]), arrays)
    assert len(lines(beside)) == 1 and beside.note == "", "warnings tell of what failed"
    # No workload's but landscape's, whatever a user calls his own.
    assert descents_chart(cases["typical"], arrays) is None
    own = replace(kept, config={"x": 1.0})
    assert descents_chart(landscape_view([own]), arrays) is None


@pytest.mark.parametrize("landscapes", [["beale"], ["rosenbrock", "himmelblau", "rastrigin"]])
def test_a_figure_of_what_a_sweep_kept(
    landscapes: Sequence[Any], store: Store, landscape_view: ViewOf, tmp_path: Path
) -> None:
    configs = [
        Config(landscape=name, optimizer=optimizer, keep_path=True, steps=20, learning_rate=rate)
        for name in landscapes
        for optimizer in ("sgd", "lion")
        for rate in (1e-3, 1e6)
    ]
    trials = [LANDSCAPE.trial(config) for config in configs]
    for name in landscapes:
        for optimizer in ("sgd", "lion"):
            ours = [t for t in trials if (t.config.landscape, t.config.optimizer) == (name, optimizer)]
            run_batch(LANDSCAPE.run, ours, store, size=2, datasets=1)
    known = store.known([trial.id for trial in trials])
    view = landscape_view(list(known.values()))
    assert view.counts["diverged"] >= len(landscapes)
    sweep = TrialsSweep("mine", "sweepflow sweep workload=landscape", store.paths.sweep("mine"), view)
    figure = descents_figure(sweep)
    shown = [trace.name for trace in figure.data if trace.showlegend is not False and trace.type == "scatter"]
    assert shown == ["sgd", "lion", "start", "global minimum"]
    maps = [trace for trace in figure.data if trace.type == "contour"]
    titles = [note.text.partition("<br>")[0] for note in figure.layout.annotations]
    assert len(maps) == len(landscapes) and titles == list(landscapes)
    bars = {(trace.colorbar.x, trace.colorbar.y) for trace in maps}
    assert len(bars) == len(landscapes), "each beside its own panel"
    # In a notebook a click on the legend takes an optimizer's lines and marks away.
    assert {trace.name for trace in figure.data if trace.legendgroup == "lion"} == {"lion", "end of lion"}
    sweep.write(store)
    assert sweep.report.read_text("utf-8").count('"type":"contour"') == len(landscapes)
    bare = replace(sweep, view=landscape_view([], metric="loss"))
    with pytest.raises(ConfigError, match="keep_path=true"):
        descents_figure(bare)
