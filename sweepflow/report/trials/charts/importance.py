"""Chart of the importance of each key for the order of the configurations."""

from __future__ import annotations

from collections.abc import Sequence

from sweepflow.report.charts.panel import (
    COLOURS,
    MUTED,
    Chart,
    Json,
    Panel,
    axis_title,
    escaped,
    layout,
)
from sweepflow.report.numbers import counted, points, short
from sweepflow.report.trials.dimension import Dimension
from sweepflow.report.trials.importance import FOLDS, MIN_R2, Importance
from sweepflow.report.trials.view import TrialsView

MAX_BARS = 20


def importance_chart(view: TrialsView, axes: Sequence[Dimension], found: Importance) -> Chart | None:
    """One bar for each key; None if fewer than two keys vary.

    Args:
        view: The sweep.
        axes: The keys' axes, in the order to which the indices of `found` refer.
        found: The importance of the keys.
    """
    if len(axes) < 2:
        return None
    reading = (
        f"How much of its R² a random forest loses when a key's settings are shuffled; it predicts the rank"
        f" of a configuration by {view.metric}. Error bars: one standard deviation over folds and shuffles."
        " Keys that act only together, or in place of one another, share their importance."
    )
    if found.too_few:
        few = f"{counted(found.n, 'configuration')} with a value: too few to say what matters among"
        return Chart(
            heading="Importance",
            reading=reading,
            panels=(),
            note=f"{few} {counted(len(axes), 'key')}; it takes {found.needed:,}.",
            columns=1,
        )
    of = f" of {found.n:,}" if found.used < found.n else ""
    verdict = (
        f"R² = {short(found.r2, 2)} on configurations it did not see ({FOLDS}-fold), n = {found.used:,}{of}."
    )
    if not found.means_something:
        verdict += f" Below {MIN_R2:g}: the forest knows no better than chance, and these bars mean nothing."
    if found.r2 is not None and float(found.mean.max()) > found.r2:
        verdict += " A loss can exceed R²: a shuffled setting misleads the forest more than none would."
    by_loss = sorted(range(len(axes)), key=lambda i: -float(found.mean[i]))
    order = by_loss[:MAX_BARS][::-1]
    names = [escaped(axes[i].name) for i in order]
    colour = COLOURS[0] if found.means_something else "white"
    data = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(order))),
        "x": points(float(found.mean[i]) for i in order),
        "error_x": {"type": "data", "array": points(float(found.sd[i]) for i in order), "thickness": 1.3},
        "marker": {"color": colour, "line": {"color": MUTED, "width": 1}},
        "text": [f"{name}: {short(float(found.mean[i]), 2)}" for name, i in zip(names, order, strict=True)],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }
    y: Json = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False}
    figure: Json = {
        "data": [data],
        "layout": layout(axis_title("loss of R² (dimensionless)") | {"rangemode": "tozero"}, y, bargap=0.35),
    }
    note = f" The {MAX_BARS} greatest losses of {len(axes)} keys." if len(axes) > MAX_BARS else ""
    return Chart(
        heading="Importance",
        reading=reading,
        panels=(Panel("", figure, height=90 + 30 * len(order)),),
        note=verdict + note,
        columns=1,
    )
