"""Chart of λ̂ against the sampler's step size and γ, if either was swept, with the acceptance beside it."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sweepflow.report.charts.panel import (
    LLC_AXIS,
    MUTED,
    Chart,
    Json,
    Panel,
    Style,
    axis_title,
    error_bars,
    escaped,
    layout,
    styles,
)
from sweepflow.report.labels import Labels, target_key
from sweepflow.report.numbers import counted, llc_text, number, points, setting, short
from sweepflow.schema.fields import AUTO
from sweepflow.storage.record import Record

MAX_PANELS = 24
AXES = {"step_size": "step size", "gamma": "γ"}
MAX_TICKS = 8
"""Most settings that an axis labels one by one."""
SHARE = 0.56
"""Share of a panel's width for λ̂ if the acceptance is beside it."""
NEAR = 3.0
"""Factor of the sound estimates' median: values above this multiple, or below this fraction, are not drawn to
scale."""
MARGIN = 0.1
"""Margin above and below the near values, as a share of their range."""

Series = Mapping[str, Sequence[Record]]
"""Estimates by the name of their line."""


def calibration_chart(estimates: Sequence[Record], labels: Labels) -> Chart | None:
    """A panel for each target and sampler with a swept step size, with a line for each γ, and a panel for
    each target with only γ swept; None if neither was swept."""
    members: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for estimate in estimates:
        if _sampler(estimate):
            members[target_key(estimate), labels.kind[estimate.id]].append(estimate)
    found: list[tuple[str, str, Series]] = []
    by_gamma: dict[str, dict[str, list[Record]]] = defaultdict(dict)
    for (key, kind), ours in members.items():
        if all(number(e.figures, "llc") is None for e in ours):
            continue
        if len(_values(ours, "step_size")) > 1:
            lines: dict[str, list[Record]] = defaultdict(list)
            for estimate in sorted(ours, key=lambda e: _sampler(e)["gamma"]):
                lines[f"{kind} γ={setting(_sampler(estimate)['gamma'])}"].append(estimate)
            found.append((f"{labels.target[key]} · {kind}", "step_size", lines))
        elif len(_values(ours, "gamma")) > 1:
            by_gamma[key][kind] = ours
    found += [(labels.target[key], "gamma", kinds) for key, kinds in by_gamma.items()]
    if not found:
        return None
    series = styles([name for _, _, lines in found for name in lines])
    panels = [_curves(title, axis, lines, series, labels) for title, axis, lines in found]
    return Chart(
        heading="Calibration",
        reading=(
            "A calibrated sampler gives the same λ̂ over a range of settings: look for the plateau. Bars are "
            "95 % intervals and open markers are flagged; a star, on a dotted line, is where a sampler has "
            "set itself. Beside λ̂ is the share of steps that are accepted: of SGLD, what a Metropolis "
            "correction would accept."
        ),
        panels=tuple(panels[:MAX_PANELS]),
        legend=tuple(dict.fromkeys(series[name] for _, _, lines in found[:MAX_PANELS] for name in lines)),
        note=f"The first {MAX_PANELS} of {counted(len(panels), 'panel')} are drawn."
        if len(panels) > MAX_PANELS
        else "",
        columns=1 if any(axis == "step_size" for _, axis, _ in found) else 2,
    )


def _values(members: Sequence[Record], axis: str) -> list[float | str]:
    """The settings of an axis in order; `auto`, for which the sampler found the setting itself, is last."""
    found = {_sampler(e)[axis] for e in members if _sampler(e).get(axis) is not None}
    return [*sorted(found - {AUTO}), *(found & {AUTO})]


def _place(estimate: Record, axis: str) -> float | None:
    """Position of an estimate on an axis: its setting, or the value that its sampler found itself."""
    return number(estimate.figures if _is_found(estimate, axis) else _sampler(estimate), axis)


def _is_found(estimate: Record, axis: str) -> bool:
    return bool(_sampler(estimate)[axis] == AUTO)


def _sampler(estimate: Record) -> Mapping[str, Any]:
    sampler: Mapping[str, Any] = estimate.config["sampler"]
    return sampler


def _accepted(estimate: Record) -> float | None:
    mala = number(estimate.figures, "mala_acceptance")
    return number(estimate.figures, "acceptance") if mala is None else mala


def _curves(title: str, axis: str, lines: Series, series: Mapping[str, Style], labels: Labels) -> Panel:
    everything = [e for members in lines.values() for e in members]
    drawn = [e for e in everything if number(e.figures, "llc") is not None]
    beside = axis == "step_size" and any(_accepted(e) is not None for e in drawn)
    data: list[Json] = []
    for name, members in lines.items():
        data += _traces(name, [e for e in members if e in drawn], axis, series[name], labels, beside=beside)
    swept = sorted(v for v in _values(everything, axis) if not isinstance(v, str))
    x_axis: Json = axis_title(f"{AXES[axis]} (log)" if swept[0] > 0 else AXES[axis])
    if swept[0] > 0:
        x_axis |= {"type": "log"}
    if len(swept) <= MAX_TICKS:
        x_axis |= {"tickvals": swept, "ticktext": [setting(value) for value in swept]}
    bounds, outside = _bounds(drawn)
    figure: Json = {"data": data, "layout": layout(x_axis, {**axis_title(LLC_AXIS), **bounds})}
    if beside:
        second = layout(x_axis, {**axis_title("accepted"), "range": [-0.03, 1.03]})
        figure["layout"]["xaxis"] |= {"domain": [0, SHARE]}
        figure["layout"]["xaxis2"] = second["xaxis"] | {"domain": [SHARE + 0.12, 1], "anchor": "y2"}
        figure["layout"]["yaxis2"] = second["yaxis"] | {"anchor": "x2"}
    chosen = sorted({place for e in drawn if _is_found(e, axis) and (place := _place(e, axis)) is not None})
    figure["layout"]["shapes"] = [_line(x, ref) for x in chosen for ref in ("", "2")[: 1 + beside]]
    missing = len(everything) - len(drawn)
    words = [f"{missing} without a value"] * (missing > 0) + [f"{outside} far off"] * (outside > 0)
    if words:
        figure["layout"]["annotations"] = [_corner(", ".join(words), SHARE if beside else 1)]
    return Panel(f"{title} · λ̂ against {AXES[axis]}", figure, height=320)


def _traces(
    name: str, members: Sequence[Record], axis: str, style: Style, labels: Labels, *, beside: bool
) -> list[Json]:
    """The traces of one line: λ̂, and beside it the acceptance."""
    placed = [(place, e) for e in members if (place := _place(e, axis)) is not None]
    placed.sort(key=itemgetter(0))
    x, ours = [place for place, _ in placed], [e for _, e in placed]
    symbols = [
        ("star" if _is_found(e, axis) else style.symbol) + ("" if e.status == "ok" else "-open") for e in ours
    ]
    common: Json = {
        "type": "scatter",
        # Repeats at one setting (seeds) would make the line go up and down: markers alone then.
        "mode": "lines+markers" if len(set(x)) == len(x) else "markers",
        "name": escaped(name),
        "x": x,
        "line": {"color": style.colour, "width": 1.5, "dash": style.dash},
        "marker": {
            "color": style.colour,
            "size": [13 if _is_found(e, axis) else 9 for e in ours],
            "symbol": symbols,
            "line": {"width": 2, "color": style.colour},
        },
        "hovertemplate": "%{text}<extra></extra>",
    }
    llc = {
        "y": points(e.figures["llc"] for e in ours),
        "error_y": error_bars(ours),
        "text": [escaped(f"{labels.of(e)}: λ̂ = {llc_text(e.figures)}, {e.status}") for e in ours],
    }
    if not beside:
        return [common | llc]
    accepted = {
        "y": points(math.nan if (share := _accepted(e)) is None else share for e in ours),
        "text": [escaped(f"{labels.of(e)}: {short(_accepted(e), 2)} accepted") for e in ours],
        "xaxis": "x2",
        "yaxis": "y2",
    }
    return [common | llc, common | accepted]


def _bounds(drawn: Sequence[Record]) -> tuple[Json, int]:
    """An axis range for the values near the sound estimates, so that an outlier does not flatten the others;
    and the number of values outside it."""
    sound = [e for e in drawn if e.status == "ok"]
    if len(sound) < 2:
        return {}, 0
    middle = statistics.median(e.figures["llc"] for e in sound)
    least, most = sorted((middle / NEAR, NEAR * middle))  # it may be negative
    near = [e.figures["llc"] for e in drawn if least <= e.figures["llc"] <= most]
    ends = [
        end for e in sound for side in ("llc_low", "llc_high") if (end := number(e.figures, side)) is not None
    ]
    pad = MARGIN * (max(near, default=1.0) - min(near, default=0.0)) or 1.0
    low, high = min([*near, *ends]) - pad, max([*near, *ends]) + pad
    return {"range": [low, high]}, sum(not low <= e.figures["llc"] <= high for e in drawn)


def _line(x: float, reference: str) -> Json:
    return {
        "type": "line",
        "xref": f"x{reference}",
        "yref": f"y{reference} domain",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": MUTED, "width": 1, "dash": "dot"},
        "layer": "below",
    }


def _corner(text: str, x: float) -> Json:
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": 1,
        "xanchor": "right",
        "showarrow": False,
        "font": {"color": MUTED},
    }
