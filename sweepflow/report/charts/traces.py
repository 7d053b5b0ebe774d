"""Chart of L_n along every chain, with a line at L₀ and a shaded warm-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sweepflow.report.charts.panel import (
    COLOURS,
    COST_AXIS,
    INK,
    LOSS_AXIS,
    Chart,
    Json,
    Panel,
    axis_title,
    layout,
    said,
)
from sweepflow.report.charts.running import Arrays
from sweepflow.report.labels import Labels
from sweepflow.report.numbers import counted, number, points
from sweepflow.storage.record import Record

MAX_PANELS = 24
MAX_CHAINS = 6
MAX_POINTS = 500
LOG_RATIO = 50.0
"""Ratio of a trace's maximum to the median of its lower half from which the axis is logarithmic."""


def traces_chart(estimates: Sequence[Record], labels: Labels, arrays: Arrays) -> Chart:
    """One panel for each estimate, those that are not sound first."""
    ordered = sorted((e for e in estimates if e.status != "failed"), key=lambda e: e.status == "ok")
    panels = tuple(_panel(e, labels, arrays(e)) for e in ordered[:MAX_PANELS])
    note = (
        f"The first {MAX_PANELS} of {counted(len(ordered), 'estimate')} are drawn, the unsound ones first."
        if len(ordered) > MAX_PANELS
        else ""
    )
    return Chart(
        heading="Loss traces",
        reading="Lₙ along each chain, one colour a chain; the dashed line is L₀ and the shaded part is"
        " warm-up. Sound chains lie on one another, above L₀, with no trend after the warm-up.",
        panels=panels,
        note=note,
        columns=3,
    )


def _panel(estimate: Record, labels: Labels, arrays: Mapping[str, np.ndarray]) -> Panel:
    alarm = (
        "" if estimate.status == "ok" else f"{estimate.status}: {'; '.join(estimate.reasons)}".rstrip(": ")
    )
    loss = np.asarray(arrays.get("loss", np.empty((0, 0))), dtype=np.float64)
    loss = np.where(np.isfinite(loss), loss, np.nan)
    if not np.isfinite(loss).any():
        empty = layout(
            {"visible": False}, {"visible": False}, annotations=[said("no finite Lₙ was recorded")]
        )
        return Panel(labels.of(estimate), {"data": [], "layout": empty}, alarm=alarm, height=240)
    cost = np.asarray(arrays["full_gradients"], dtype=np.float64)
    base = number(estimate.figures, "L0")
    stride = -(-loss.shape[1] // MAX_POINTS)
    x = points(cost[::stride])
    data: list[Json] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": x,
            "y": points(chain[::stride]),
            "line": {"color": COLOURS[i], "width": 0.8},
            "hovertemplate": f"chain {i}: L<sub>n</sub> = %{{y:.5g}}<extra></extra>",
        }
        for i, chain in enumerate(loss[:MAX_CHAINS])
    ]
    log = _needs_log(loss, base)
    y = axis_title(LOSS_AXIS + (" (log)" if log else "")) | {"nticks": 6}
    if log:
        y |= {"type": "log", "exponentformat": "power"}
    figure: Json = {
        "data": data,
        "layout": layout({**axis_title(COST_AXIS), "nticks": 5, "rangemode": "tozero"}, y),
    }
    figure["layout"] |= {
        "shapes": _shapes(cost, int(estimate.figures.get("trace_warmup") or 0), base),
        "annotations": _annotations(base, log),
    }
    shown = min(len(loss), MAX_CHAINS)
    title = labels.of(estimate) + (f" ({shown} of {len(loss)} chains)" if shown < len(loss) else "")
    return Panel(title, figure, alarm=alarm, height=260)


def _needs_log(loss: np.ndarray, base: float | None) -> bool:
    finite = loss[np.isfinite(loss)]
    positive = bool(finite.min() > 0) and (base is None or base > 0)
    return positive and bool(finite.max() > LOG_RATIO * np.median(finite[finite <= np.median(finite)]))


def _shapes(cost: np.ndarray, warmup: int, base: float | None) -> list[Json]:
    shapes: list[Json] = []
    if 0 < warmup <= len(cost):
        # To the middle of the gap between the last warm-up point and the first kept one.
        end = float(cost[warmup - 1 : warmup + 1].mean())
        shapes.append(
            {
                "type": "rect",
                "yref": "paper",
                "x0": 0,
                "x1": float(f"{end:.6g}"),
                "y0": 0,
                "y1": 1,
                "fillcolor": "#e9e9e9",
                "line": {"width": 0},
                "layer": "below",
            }
        )
    if base is not None:
        line = {"color": INK, "width": 1.5, "dash": "dash"}
        shapes.append(
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": base, "y1": base, "line": line}
        )
    return shapes


def _annotations(base: float | None, log: bool) -> list[Json]:
    if base is None:
        return []
    place = float(np.log10(base)) if log else base
    return [
        {
            "text": "L₀",
            "xref": "paper",
            "x": 1,
            "xanchor": "left",
            "xshift": 2,
            "y": place,
            "showarrow": False,
            "font": {"size": 12, "color": INK},
        }
    ]
