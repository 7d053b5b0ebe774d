"""Chart of the metric by static group, to compare programs (architectures, optimizers)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from sweepflow.report.charts.panel import COLOURS, INK, Chart, Json, Panel, escaped, faded, layout
from sweepflow.report.numbers import NOTHING, counted, short
from sweepflow.report.trials.charts.palette import BEST, POINT, told
from sweepflow.report.trials.charts.scale import Scale, metric_scale
from sweepflow.report.trials.configurations import configurations, has_repeats, ranked
from sweepflow.report.trials.view import TrialsView

MAX_GROUPS = 20
MIN_FOR_BOX = 5
"""Minimum number of values for a box; fewer values are drawn one by one."""


def groups_chart(view: TrialsView) -> Chart | None:
    """One row for each group, the best median at the top; None with fewer than two groups."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(view.records):
        if record.id in view.groups:
            members[view.groups[record.id]].append(place)
    if len(members) < 2:
        return None
    valued = {
        name: np.array([p for p in places if np.isfinite(view.scores[p])]) for name, places in members.items()
    }
    ordered = sorted(
        (name for name in members if len(valued[name])),
        key=lambda n: float(np.median(view.scores[valued[n]])),
    )
    if not ordered:
        return None
    shown = ordered[:MAX_GROUPS]
    stars: dict[str, int] = {}
    for one in ranked(view):
        # The first of a group in the sweep's own order, so that the best of all is the star of its group.
        # Repeats are of several groups where the seed is static.
        valued_places = [place for place in one.places if np.isfinite(view.scores[place])]
        for place in sorted(valued_places, key=view.scores.__getitem__):
            stars.setdefault(view.groups.get(view.records[place].id, ""), place)
    scale = metric_scale(view)
    data: list[Json] = []
    for row, name in enumerate(reversed(shown)):
        places = valued[name]
        if len(places) >= MIN_FOR_BOX:
            data.append(_box(row, view.values[places], scale))
        else:
            data.append(_dots(view, row, places, scale))
        data.append(_best(view, row, stars[name], scale))
    names = [escaped(_named(name, len(valued[name]), len(members[name]))) for name in reversed(shown)]
    y: Json = {
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "showgrid": False,
        "range": [-0.6, len(names) - 0.4],
        "ticks": "",
    }
    figure: Json = {"data": data, "layout": layout(scale.axis, y)}
    notes = []
    if len(ordered) > MAX_GROUPS:
        notes.append(f"The best {MAX_GROUPS} of {counted(len(ordered), 'group')}.")
    gone = [name for name in members if not len(valued[name])]
    if gone:
        more = f" and {len(gone) - 3:,} more" if len(gone) > 3 else ""
        notes.append(f"Without any value: {', '.join(gone[:3])}{more}.")
    repeats = has_repeats(configurations(view))
    best = "best repeat of the group's best configuration" if repeats else "group's best"
    return Chart(
        heading="Static groups",
        reading=f"{scale.better} Trials that share a compiled program, the best median on top. A box holds"
        " the middle half with the median in it, its whiskers nine tenths; fewer than five trials are drawn"
        f" one by one; the star is the {best}. n counts trials with a value.",
        panels=(Panel("", figure, height=100 + 34 * len(shown)),),
        legend=(replace(BEST, label="the best of its group"), POINT),
        note=" ".join(notes),
        columns=1,
        marks="markers",
    )


def _named(name: str, valued: int, asked: int) -> str:
    lost = f", {asked - valued:,} lost" if asked > valued else ""
    return f"{name[:40]} (n = {valued:,}{lost})"


def _box(row: int, values: np.ndarray, scale: Scale) -> Json:
    low, q1, median, q3, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    five = scale.drawn(np.array([low, q1, median, q3, high]))
    return {
        "type": "box",
        "orientation": "h",
        "y": [row],
        "lowerfence": [five[0]],
        "q1": [five[1]],
        "median": [five[2]],
        "q3": [five[3]],
        "upperfence": [five[4]],
        "width": 0.5,
        "line": {"color": COLOURS[0], "width": 1.5},
        "fillcolor": faded(COLOURS[0], 0.2),
        "hoverinfo": "x",
    }


def _dots(view: TrialsView, row: int, places: np.ndarray, scale: Scale) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": scale.drawn(view.values[places]),
        "y": [row] * len(places),
        "marker": {"color": faded(POINT.colour, 0.7), "size": 8, "symbol": POINT.symbol},
        "text": [_text(view, int(place)) for place in places],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _best(view: TrialsView, row: int, place: int, scale: Scale) -> Json:
    marker = {"color": BEST.colour, "size": 11, "symbol": "star", "line": {"color": INK, "width": 0.8}}
    dots = _dots(view, row, np.array([place]), scale)
    return dots | {"marker": marker}


def _text(view: TrialsView, place: int) -> str:
    told_parts = told(view, place).split("<br>")
    return "<br>".join(escaped(part) for part in told_parts) or short(None) or NOTHING
