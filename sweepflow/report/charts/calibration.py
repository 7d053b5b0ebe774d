"""λ̂ over the sampler's step size and γ, where either was swept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np

from sweepflow.report.charts.panel import (
    INK,
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
from sweepflow.store.record import Record

MAX_PANELS = 24
AXES = {"step_size": "step size", "gamma": "γ"}
MAX_CELLS_WITH_TEXT = 12
"""Columns beyond which a map's cells are too narrow for their numbers."""


def calibration_chart(estimates: Sequence[Record], labels: Labels) -> Chart | None:
    """A heat map for each target and sampler where both were swept, a line where one was; else None."""
    maps: list[Panel] = []
    lines: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(dict)
    members: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for estimate in estimates:
        members[target_key(estimate), labels.kind[estimate.id]].append(estimate)
    for (key, kind), ours in members.items():
        swept = [axis for axis in AXES if len(_values(ours, axis)) > 1]
        if all(number(e.figures, "llc") is None for e in ours):
            continue
        if len(swept) == 2:
            maps.append(_map(f"{labels.target[key]} · {kind}", ours))
        elif swept:
            lines[key, swept[0]][kind] = ours
    series = styles(list(labels.kind.values()))
    panels = maps + [
        _curve(labels.target[key], axis, kinds, series, labels) for (key, axis), kinds in lines.items()
    ]
    if not panels:
        return None
    reading = "A calibrated sampler gives the same λ̂ over a range of settings: look for the plateau."
    if maps:
        reading += " In a map, ▲ is a flagged cell and ✗ one without a value; repeats of a cell are averaged."
    if lines:
        reading += " On a curve, bars are 95 % intervals and open markers are flagged."
    return Chart(
        heading="Calibration",
        reading=reading,
        panels=tuple(panels[:MAX_PANELS]),
        legend=tuple(dict.fromkeys(series[kind] for kinds in lines.values() for kind in kinds)),
        note=f"The first {MAX_PANELS} of {counted(len(panels), 'panel')} are drawn."
        if len(panels) > MAX_PANELS
        else "",
    )


def _values(members: Sequence[Record], axis: str) -> list[float | str]:
    """The settings of an axis in their order, one that the sampler found for itself last."""
    found = {_sampler(e)[axis] for e in members if _sampler(e).get(axis) is not None}
    return [*sorted(found - {AUTO}), *(found & {AUTO})]


def _place(estimate: Record, axis: str) -> float | None:
    """Where an estimate stands on an axis: at its setting, or at what its sampler found for itself."""
    value = _sampler(estimate)[axis]
    return number(estimate.figures if value == AUTO else _sampler(estimate), axis)


def _sampler(estimate: Record) -> Mapping[str, Any]:
    sampler: Mapping[str, Any] = estimate.config["sampler"]
    return sampler


def _map(title: str, members: Sequence[Record]) -> Panel:
    columns, rows = _values(members, "step_size"), _values(members, "gamma")
    cells: dict[tuple[float | str, float | str], list[Record]] = defaultdict(list)
    for estimate in members:
        cells[_sampler(estimate)["gamma"], _sampler(estimate)["step_size"]].append(estimate)
    values = np.full((len(rows), len(columns)), np.nan)
    text = [["" for _ in columns] for _ in rows]
    marks: list[Json] = []
    for (i, gamma), (j, step_size) in product(enumerate(rows), enumerate(columns)):
        cell = cells.get((gamma, step_size), [])
        found = [value for e in cell if (value := number(e.figures, "llc")) is not None]
        if found:
            values[i, j] = np.mean(found)
            text[i][j] = short(float(values[i, j])) + (" ▲" if any(e.status != "ok" for e in cell) else "")
        elif cell:
            marks.append({"x": j, "y": i, "text": "✗", "showarrow": False, "font": {"color": INK}})
    figure: Json = {
        "data": [
            {
                "type": "heatmap",
                "x": list(range(len(columns))),
                "y": list(range(len(rows))),
                "z": [points(row, 4) for row in values],
                "text": text,
                "texttemplate": "%{text}" if len(columns) <= MAX_CELLS_WITH_TEXT else "",
                "textfont": {"size": 11},
                "colorscale": "Cividis",
                "colorbar": {"title": {"text": "λ̂", "side": "top"}, "thickness": 12, "nticks": 6},
                "hovertemplate": "λ̂ = %{text}<extra></extra>",
                "xgap": 1,
                "ygap": 1,
                **_colour_range(values, members),
            }
        ],
        "layout": layout(
            _steps(columns, "step size (dimensionless)"),
            _steps(rows, "γ (localisation)"),
            annotations=marks,
            plot_bgcolor="#efefef",
        ),
    }
    return Panel(title, figure, height=130 + 46 * max(len(rows), 3))


def _steps(values: Sequence[float | str], title: str) -> Json:
    return {
        "tickvals": list(range(len(values))),
        "ticktext": [setting(v) for v in values],
        "showgrid": False,
        "ticks": "",
        **axis_title(title),
    }


def _colour_range(values: np.ndarray, members: Sequence[Record]) -> Json:
    """Colours for the sound cells, so that one runaway cell does not flatten the map."""
    sound = [v for e in members if e.status == "ok" and (v := number(e.figures, "llc")) is not None]
    chosen = np.asarray(sound if len(sound) > 1 else values[np.isfinite(values)])
    if not chosen.size or chosen.min() == chosen.max():
        return {}
    return {"zmin": float(chosen.min()), "zmax": float(chosen.max())}


def _curve(
    title: str, axis: str, kinds: Mapping[str, list[Record]], series: Mapping[str, Style], labels: Labels
) -> Panel:
    data = []
    given = {value for members in kinds.values() for value in _values(members, axis)}
    swept = sorted(value for value in given if not isinstance(value, str))
    log = swept[0] > 0
    for kind, members in kinds.items():
        style = series[kind]
        placed = [
            (place, e)
            for e in members
            if number(e.figures, "llc") is not None and (place := _place(e, axis)) is not None
        ]
        placed.sort(key=itemgetter(0))
        x, ours = [place for place, _ in placed], [e for _, e in placed]
        data.append(
            {
                "type": "scatter",
                # Repeats at one setting (seeds) would make the line go up and down: markers alone then.
                "mode": "lines+markers" if len(set(x)) == len(x) else "markers",
                "name": escaped(kind),
                "x": x,
                "y": points(e.figures["llc"] for e in ours),
                "error_y": error_bars(ours),
                "line": {"color": style.colour, "width": 1.5, "dash": style.dash},
                "marker": {
                    "color": style.colour,
                    "size": 9,
                    "symbol": [style.symbol + ("" if e.status == "ok" else "-open") for e in ours],
                    "line": {"width": 2, "color": style.colour},
                },
                "text": [escaped(f"{labels.of(e)}: λ̂ = {llc_text(e.figures)}, {e.status}") for e in ours],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    name = AXES[axis]
    x_axis: Json = axis_title(f"{name} (log)" if log else name)
    if log:
        x_axis |= {"type": "log"}
    if len(swept) <= MAX_CELLS_WITH_TEXT:
        x_axis |= {"tickvals": swept, "ticktext": [setting(value) for value in swept]}
    missing = sum(number(e.figures, "llc") is None for members in kinds.values() for e in members)
    figure: Json = {"data": data, "layout": layout(x_axis, axis_title(LLC_AXIS))}
    if missing:
        figure["layout"]["annotations"] = [_corner(f"{missing} without a value")]
    return Panel(f"{title} · λ̂ against {name}", figure, height=300)


def _corner(text: str) -> Json:
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": 1,
        "y": 1,
        "xanchor": "right",
        "showarrow": False,
        "font": {"color": MUTED},
    }
