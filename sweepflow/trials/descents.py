"""The paths of a sweep of the workload `landscape` as one figure, for a notebook or a file."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sweepflow.errors import ConfigError
from sweepflow.report.charts.panel import Chart, escaped
from sweepflow.report.trials.charts.descents import descents_chart
from sweepflow.storage.store import Store
from sweepflow.trials.result import TrialsSweep

WIDTH, HEIGHT = 620, 480
"""Size of one panel, in pixels."""
GAP = 0.16
"""Room for a colour bar, as a share of the figure's width."""


def descents_figure(sweep: TrialsSweep) -> go.Figure:
    """Return a figure of each optimizer's path: the report's panels, one per landscape, with one legend.

    Args:
        sweep: Return value of `flows.sweep`, for `workload=landscape keep_path=true`.

    Raises:
        ConfigError: if no trial has a path.
        StoreError: if a trial's path is no longer in the store.
    """
    store = Store(sweep.directory.parents[1])
    chart = descents_chart(sweep.view, lambda record: store.arrays(record.id))
    if chart is None or not chart.panels:
        raise ConfigError(
            "no trial of this sweep has a path to draw",
            got=sweep.command,
            allowed="a sweep of workload=landscape with keep_path=true",
            do="add keep_path=true",
        )
    return _figure(chart)


def _figure(chart: Chart) -> go.Figure:
    columns = min(len(chart.panels), chart.columns)
    rows = -(-len(chart.panels) // columns)
    figure = make_subplots(
        rows,
        columns,
        horizontal_spacing=GAP if columns > 1 else 0,
        vertical_spacing=0.22 / rows,
        subplot_titles=[_title(panel.title, panel.alarm) for panel in chart.panels],
    )
    for i, panel in enumerate(chart.panels):
        at = {"row": i // columns + 1, "col": i % columns + 1}
        axes = panel.figure["layout"]
        figure.update_xaxes(axes["xaxis"], **at)
        figure.update_yaxes(axes["yaxis"], **at)
        place = figure.get_subplot(**at)
        (_, right), (low, high) = place.xaxis.domain, place.yaxis.domain
        for trace in panel.figure["data"]:
            if "colorbar" in trace:
                bar = {"x": right + 0.005, "y": (low + high) / 2, "len": high - low}
                trace = trace | {"colorbar": trace["colorbar"] | bar}
            figure.add_trace(trace, **at)
    for style in chart.legend:
        mark = {"color": style.colour, "symbol": style.symbol, "size": 9}
        line = {"color": style.colour, "dash": style.dash} if style.dash != "none" else None
        mode = "markers" if line is None else chart.marks
        figure.add_scatter(
            x=[None], y=[None], name=style.label, legendgroup=style.label, mode=mode, marker=mark, line=line
        )
    look = {key: value for key, value in chart.panels[0].figure["layout"].items() if "axis" not in key}
    figure.update_layout(
        look
        | {
            "showlegend": True,
            "legend": {"orientation": "h", "y": -0.12 / rows, "yanchor": "top"},
            "margin": {"l": 60, "r": 60, "t": 60, "b": 60},
            "width": WIDTH * columns + 120,
            "height": HEIGHT * rows + 120,
        }
    )
    return figure


def _title(title: str, alarm: str) -> str:
    return f"{escaped(title)}<br><sup>{escaped(alarm)}</sup>" if alarm else escaped(title)
