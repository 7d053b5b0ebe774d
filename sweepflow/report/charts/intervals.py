"""Chart of λ̂ with its 95 % interval, by target and sampler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sweepflow.report.charts.panel import (
    INK,
    LLC_AXIS,
    Chart,
    Json,
    Panel,
    Style,
    axis_title,
    error_bars,
    escaped,
    layout,
    said,
)
from sweepflow.report.labels import Labels, target_key, target_order
from sweepflow.report.numbers import counted, llc_text, number, points
from sweepflow.storage.record import Record
from sweepflow.words import shortened

MAX_TICKS = 30
"""Most target names under the axis; with more targets only every k-th is named."""
REACH = 3.0
"""Most that the axis extends beyond the sound estimates, in units of their span."""


def intervals_chart(estimates: Sequence[Record], labels: Labels, series: Mapping[str, Style]) -> Chart:
    """One panel: targets along the axis, a marker and an interval for each estimate.

    Args:
        estimates: The estimates in the order of the table.
        labels: Names of targets and samplers.
        series: The style of each estimate, by estimate id.
    """
    places = _places(estimates)
    axis = drawn_range(estimates)
    with_value = [e for e in estimates if number(e.figures, "llc") is not None]
    without = [e for e in estimates if number(e.figures, "llc") is None]
    by_style: dict[Style, list[Record]] = defaultdict(list)
    for estimate in with_value:
        by_style[series[estimate.id]].append(estimate)
    data = [_markers(members, style, places, labels, axis) for style, members in by_style.items()]
    if without:
        data.append(_crosses(without, places, labels, axis))
    targets = target_order(estimates)
    names = [labels.target[key] for key in targets]
    figure: Json = {
        "data": data,
        "layout": layout(_target_axis(names), axis_title(LLC_AXIS) | {"range": list(axis)}),
    }
    if not with_value:
        figure["layout"]["annotations"] = [said("no estimate has a value")]
        figure["layout"]["yaxis"] |= {"showticklabels": False, "ticks": "", "showgrid": False}
    if len(targets) > 1:
        figure["layout"]["shapes"] = _separators(len(targets))
    outside = sum(_outside(e, axis) for e in with_value)
    note = (
        f"{counted(outside, 'estimate')} outside the drawn range: drawn at its edge, the value in the label."
        if outside
        else ""
    )
    return Chart(
        heading="λ̂ by target and sampler",
        reading="Bars are 95 % intervals. Filled markers are sound estimates, open ones are flagged; × at the"
        " foot is an estimate without a value. Point at a marker to read it.",
        panels=(Panel("", figure, height=430 if len(targets) <= 8 else 520),),
        legend=tuple(dict.fromkeys(series[e.id] for e in estimates)),
        note=note,
        columns=1,
        marks="markers",
    )


def drawn_range(estimates: Sequence[Record]) -> tuple[float, float]:
    """The range of the λ̂ axis: all sound intervals, and as much of the others as keeps those readable."""
    sound = _bounds([e for e in estimates if e.status == "ok"])
    everything = _bounds(estimates)
    if everything is None:
        return 0.0, 1.0
    low, high = everything
    if sound is not None:
        span = max(sound[1] - sound[0], 0.1 * abs(sound[1]), 1e-9)
        low, high = max(low, sound[0] - REACH * span), min(high, sound[1] + REACH * span)
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _bounds(estimates: Sequence[Record]) -> tuple[float, float] | None:
    values = [
        value
        for e in estimates
        for name in ("llc", "llc_low", "llc_high")
        if (value := number(e.figures, name)) is not None
    ]
    return (min(values), max(values)) if values else None


def _places(estimates: Sequence[Record]) -> dict[str, float]:
    """Position of each estimate: its target's number, plus the offset of its own slot."""
    members: dict[str, list[str]] = defaultdict(list)
    for estimate in estimates:
        members[target_key(estimate)].append(estimate.id)
    return {
        id: i + 0.8 * ((slot + 0.5) / len(ids) - 0.5)
        for i, ids in enumerate(members.values())
        for slot, id in enumerate(ids)
    }


def _markers(
    members: Sequence[Record],
    style: Style,
    places: Mapping[str, float],
    labels: Labels,
    axis: tuple[float, float],
) -> Json:
    values = [float(e.figures["llc"]) for e in members]
    outside = {e.id for e in members if _outside(e, axis)}
    margin = 0.02 * (axis[1] - axis[0])
    small = len(places) > 200
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escaped(style.label),
        "x": points(places[e.id] for e in members),
        "y": points(min(max(v, axis[0] + margin), axis[1] - margin) for v in values),
        "error_y": error_bars(
            members, thickness=1 if small else 1.5, width=0 if small else 4, without=outside
        ),
        "marker": {
            "color": style.colour,
            "size": 5 if small else 9,
            "symbol": [style.symbol + ("" if e.status == "ok" else "-open") for e in members],
            "line": {"width": 1 if small else 2, "color": style.colour},
        },
        "text": [_hover(e, labels) for e in members],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _crosses(
    members: Sequence[Record], places: Mapping[str, float], labels: Labels, axis: tuple[float, float]
) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "no value",
        "x": points(places[e.id] for e in members),
        "y": [axis[0] + 0.02 * (axis[1] - axis[0])] * len(members),
        "marker": {"color": INK, "size": 8, "symbol": "x-thin", "line": {"width": 1.5, "color": INK}},
        "text": [_hover(e, labels) for e in members],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _outside(estimate: Record, axis: tuple[float, float]) -> bool:
    return not axis[0] <= float(estimate.figures["llc"]) <= axis[1]


def _hover(estimate: Record, labels: Labels) -> str:
    lines = [labels.of(estimate), f"λ̂ = {llc_text(estimate.figures)}", estimate.status, *estimate.reasons[:3]]
    return "<br>".join(escaped(line) for line in lines)


def _target_axis(names: Sequence[str]) -> Json:
    step = -(-len(names) // MAX_TICKS) or 1
    shown = range(0, len(names), step)
    axis: dict[str, Any] = {
        "tickvals": list(shown),
        "ticktext": [_wrapped(names[i], len(names)) for i in shown],
        "range": [-0.5, max(len(names), 1) - 0.5],
        "showgrid": False,
        "ticks": "",
        "autotickangles": [0, -90],
        **axis_title("target"),
    }
    return axis


def _wrapped(name: str, count: int) -> str:
    """A name on several lines if few targets share the axis; a cut name if many do."""
    if count <= 8:
        return escaped(name).replace(" ", "<br>")
    return escaped(shortened(name, 28))


def _separators(count: int) -> list[Json]:
    if count > MAX_TICKS:
        return []
    line = {"color": "#d9d9d9", "width": 1}
    return [
        {"type": "line", "x0": i - 0.5, "x1": i - 0.5, "yref": "paper", "y0": 0, "y1": 1, "line": line}
        for i in range(1, count)
    ]
