from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from sweepflow.report.charts.calibration import calibration_chart
from sweepflow.report.charts.intervals import drawn_range, intervals_chart
from sweepflow.report.charts.panel import Chart, styles
from sweepflow.report.charts.running import running_chart
from sweepflow.report.charts.traces import MAX_PANELS, traces_chart
from sweepflow.report.labels import derive_labels
from sweepflow.storage.record import Record

Make = Callable[..., Record]
Sweep = tuple[list[Record], dict[str, Record]]


def arrays(record: Record) -> Mapping[str, np.ndarray]:
    return record.arrays


def all_charts(sweep: Sweep) -> dict[str, Chart | None]:
    estimates, targets = sweep
    labels = derive_labels(estimates, targets)
    known = styles(list(labels.sampler.values()))
    return {
        "intervals": intervals_chart(
            estimates, labels, {e.id: known[labels.sampler[e.id]] for e in estimates}
        ),
        "calibration": calibration_chart(estimates, labels),
        "running": running_chart(estimates, labels, arrays),
        "traces": traces_chart(estimates, labels, arrays),
    }


@pytest.mark.parametrize("name", ["typical", "calibration", "diverged", "huge"])
def test_figures_are_what_plotly_knows(name: str, request: pytest.FixtureRequest) -> None:
    """Plotly's own validation: a misspelt attribute or a wrong value raises."""
    for chart in all_charts(request.getfixturevalue(name)).values():
        for panel in chart.panels if chart else ():
            go.Figure(panel.figure)


def test_a_running_line_ends_at_the_estimate_and_leaves_out_chains_that_diverged(
    target_of: Make, estimate_of: Make
) -> None:
    target = target_of()
    estimate = estimate_of(target, "hmc")
    running = estimate.arrays["llc_running"].copy()
    running[2] = np.nan
    estimate = replace(estimate, arrays={**estimate.arrays, "llc_running": running})
    panel = running_chart([estimate], derive_labels([estimate], {}), arrays).panels[0]
    line = panel.figure["data"][1]
    whole = [v for i, v in enumerate(estimate.figures["llc_chains"]) if i != 2]
    assert line["y"][-1] == pytest.approx(np.mean(whole), rel=1e-3)
    assert line["x"][-1] == estimate.arrays["full_gradients"][-1]


def test_one_panel_a_target_and_one_line_a_sampler(typical: Sweep) -> None:
    chart = all_charts(typical)["running"]
    assert chart is not None
    lines = [[d["name"] for d in p.figure["data"] if "name" in d] for p in chart.panels]
    assert lines == [
        ["sgld", "hmc", "mclmc"],
        ["sgld", "hmc", "mclmc"],
        ["sgld", "hmc"],
        ["sgld", "hmc", "mclmc"],
    ]
    assert chart.panels[2].alarm == "not drawn: mclmc"


def test_intervals_are_the_stated_ones(typical: Sweep) -> None:
    estimates, _ = typical
    chart = all_charts(typical)["intervals"]
    assert chart is not None
    hmc = next(d for d in chart.panels[0].figure["data"] if d["name"] == "hmc")
    ours = [e.figures for e in estimates if e.config["sampler"]["kind"] == "hmc"]
    np.testing.assert_allclose(hmc["y"], [f["llc"] for f in ours], rtol=1e-4)
    np.testing.assert_allclose(hmc["error_y"]["array"], [f["llc_high"] - f["llc"] for f in ours], rtol=1e-4)
    assert hmc["marker"]["symbol"] == ["square", "square", "square", "square-open"]


def test_one_runaway_does_not_flatten_the_intervals(typical: Sweep) -> None:
    estimates, targets = typical
    wild = {"llc": 1e9, "llc_low": 9e8, "llc_high": 1.1e9}
    estimates = [*estimates]
    estimates[3] = replace(estimates[3], figures={**estimates[3].figures, **wild})
    assert drawn_range(estimates)[1] < 200
    chart = all_charts((estimates, targets))["intervals"]
    assert chart is not None and "1 estimate outside the drawn range" in chart.note


def test_unsound_traces_come_first_and_are_capped(typical: Sweep, huge: Sweep) -> None:
    chart = all_charts(typical)["traces"]
    assert chart is not None and [bool(p.alarm) for p in chart.panels] == [True] * 3 + [False] * 9
    chart = all_charts(huge)["traces"]
    assert chart is not None and len(chart.panels) == MAX_PANELS
    assert chart.note == "The first 24 of 1,200 estimates are drawn, the unsound ones first."


def test_a_trace_shows_its_base_and_its_warmup(target_of: Make, estimate_of: Make) -> None:
    estimate = estimate_of(target_of(), "hmc")
    figure: dict[str, Any] = traces_chart([estimate], derive_labels([estimate], {}), arrays).panels[0].figure
    box, line = figure["layout"]["shapes"]
    cost, warmup = estimate.arrays["full_gradients"], estimate.figures["trace_warmup"]
    assert cost[warmup - 1] < box["x1"] < cost[warmup]
    assert line["y0"] == line["y1"] == estimate.figures["L0"]
    assert figure["layout"]["annotations"][0]["text"] == "L₀"


def test_a_line_for_each_gamma_where_both_were_swept_and_a_curve_where_one_was(calibration: Sweep) -> None:
    chart = all_charts(calibration)["calibration"]
    assert chart is not None
    first, _, third, _ = (panel.figure for panel in chart.panels)
    llc, accepted = first["data"][:2]
    assert [trace["name"] for trace in first["data"][::2]] == [
        f"sgld γ={g}" for g in ("0.1", "1", "10", "100")
    ]
    assert llc["x"] == [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4], "the last has no value"
    assert llc["y"][0] == pytest.approx(calibration[0][0].figures["llc"], rel=1e-3)
    assert llc["marker"]["symbol"][-1].endswith("-open"), "flagged"
    assert accepted["xaxis"] == "x2" and accepted["x"] == llc["x"]
    assert first["layout"]["annotations"][0]["text"] == "2 without a value, 6 far off"
    low, high = first["layout"]["yaxis"]["range"]
    assert low < llc["y"][0] < high < llc["y"][-1]
    assert {entry.label for entry in chart.legend} >= {"sgld γ=0.1", "hmc"}
    assert third["data"][0]["x"] == [0.1, 1.0, 10.0, 100.0]
    assert third["layout"]["xaxis"]["type"] == "log" and "xaxis2" not in third["layout"]


def test_no_calibration_where_nothing_was_swept(typical: Sweep) -> None:
    assert all_charts(typical)["calibration"] is None


def test_a_step_size_that_was_found_stands_beside_given_ones(target_of: Make, estimate_of: Make) -> None:
    """As a star, where it was found, with a line through both parts of the panel."""
    target = target_of()

    def estimates(*gammas: float) -> list[Record]:
        made = [
            estimate_of(target, "sgld", step_size=step_size, gamma=gamma)
            for step_size in ("auto", 1e-4, 1e-6)
            for gamma in gammas
        ]
        return [
            replace(e, figures={**e.figures, "step_size": 2e-5})
            if e.config["sampler"]["step_size"] == "auto"
            else e
            for e in made
        ]

    lines = all_charts((estimates(1.0, 10.0), {target.id: target}))["calibration"]
    assert lines is not None
    (panel,) = lines.panels
    go.Figure(panel.figure)
    for trace in panel.figure["data"]:
        assert trace["x"] == [1e-6, 2e-5, 1e-4]
        assert [symbol.startswith("star") for symbol in trace["marker"]["symbol"]] == [False, True, False]
    assert [shape["x0"] for shape in panel.figure["layout"]["shapes"]] == [2e-5, 2e-5]

    curve = all_charts((estimates(1.0), {target.id: target}))["calibration"]
    assert curve is not None
    (panel,) = curve.panels
    go.Figure(panel.figure)
    assert panel.figure["data"][0]["x"] == [1e-6, 2e-5, 1e-4]
    assert "step_size=auto" in panel.figure["data"][0]["text"][1]
    assert panel.figure["layout"]["xaxis"]["ticktext"] == ["1e-6", "1e-4"]


def test_a_step_size_that_all_found_for_themselves_was_not_swept(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    one, other = (estimate_of(target, "sgld", step_size="auto", seed=seed) for seed in (0, 1))
    estimates = [
        replace(one, figures={**one.figures, "step_size": 2e-5}),
        replace(other, figures={**other.figures, "step_size": 3e-5}),
    ]
    assert all_charts((estimates, {target.id: target}))["calibration"] is None


def test_a_gamma_of_zero_is_drawn(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    estimates = [estimate_of(target, "hmc", gamma=g) for g in (0.0, 1.0)]
    chart = calibration_chart(estimates, derive_labels(estimates, {}))
    assert chart is not None
    assert "type" not in chart.panels[0].figure["layout"]["xaxis"]


def test_repeats_of_a_setting_are_markers_without_a_line(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    estimates = [
        estimate_of(target, "sgld", step_size=e, gamma=g, seed=s)
        for e in (1e-5, 1e-4)
        for g in (1.0, 10.0)
        for s in (0, 1)
    ]
    chart = calibration_chart(estimates, derive_labels(estimates, {}))
    assert chart is not None
    trace = chart.panels[0].figure["data"][0]
    assert trace["mode"] == "markers" and trace["x"] == [1e-5, 1e-5, 1e-4, 1e-4]
