"""The metric's axis: linear or logarithmic, and as much of the bad end as leaves the good end readable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweepflow.report.charts.panel import Json, axis_title, escaped
from sweepflow.report.numbers import counted, points
from sweepflow.report.trials.dimension import Ticks, line_ticks
from sweepflow.report.trials.view import TrialsView

LOG_RATIO = 20.0
"""What is to be made small is drawn on a log axis where it is positive and spans more than this ratio."""
MAX_DECADES = 5.0
"""Over more decades Plotly finds the better ticks."""
REACH = 6.0
"""The axis reaches at most this many times the better half's span beyond it."""


@dataclass(frozen=True)
class Scale:
    """The metric's axis.

    Attributes:
        metric: The figure's name.
        sign: 1 where less is better, -1 where more is.
        log: Whether it is logarithmic (base 10).
        low: It begins here, as a logarithm where `log`.
        high: It ends here.
        band: How much of its bad end is kept for trials without a value.
    """

    metric: str
    sign: float
    log: bool
    low: float
    high: float
    band: float = 0.0

    def at(self, values: np.ndarray) -> np.ndarray:
        """Places of values on the axis, those beyond an end at that end; NaN stays NaN."""
        with np.errstate(divide="ignore", invalid="ignore"):
            places = np.log10(np.where(values > 0, values, np.nan)) if self.log else values
        low, high = self.ends
        pad = 0.015 * (high - low)
        return np.clip(places, low + pad, high - pad)

    @property
    def ends(self) -> tuple[float, float]:
        """The places between which values are drawn."""
        return (self.low, self.high - self.band) if self.sign > 0 else (self.low + self.band, self.high)

    def drawn(self, values: np.ndarray) -> list[float | None]:
        """Values for Plotly's axis, those beyond an end at that end."""
        places = self.at(values)
        return points(10.0**places if self.log else places, 6)

    @property
    def worst(self) -> float:
        """The place of trials without a value: at the bad end."""
        return self.high if self.sign > 0 else self.low

    @property
    def edge(self) -> float:
        """The middle of the band, as a value for Plotly's axis."""
        place = self.worst - self.sign * self.band / 2
        return float(f"{10.0**place if self.log else place:.6g}")

    @property
    def title(self) -> str:
        """The metric, and that it is a log scale where it is one."""
        return f"{self.metric} (log)" if self.log else self.metric

    @property
    def better(self) -> str:
        """Which way is better, in words."""
        return f"{'Less' if self.sign > 0 else 'More'} {self.metric} is better."

    @property
    def axis(self) -> Json:
        """Plotly's axis."""
        form = axis_title(escaped(self.title)) | {"range": points([self.low, self.high], 6), "nticks": 7}
        return form | log_axis(self.low, self.high) if self.log else form

    @property
    def ticks(self) -> Ticks:
        """Round values within the axis."""
        return line_ticks(self.low, self.high, self.log)

    def beyond(self, values: np.ndarray) -> list[str]:
        """A note on the values that lie beyond an end, where there are any."""
        outside = self.outside(values)
        return [f"{counted(outside, 'trial')} beyond the drawn range: drawn at its edge."] if outside else []

    def outside(self, values: np.ndarray) -> int:
        """How many values lie beyond an end."""
        finite = values[np.isfinite(values)]
        places = np.log10(np.maximum(finite, 1e-300)) if self.log else finite
        low, high = self.ends
        return int(((places < low) | (places > high)).sum())


def log_axis(low: float, high: float) -> Json:
    """Plotly's logarithmic axis between two logarithms (base 10), with round numbers at its ticks."""
    form: Json = {"type": "log", "exponentformat": "power", "nticks": 7}
    if high - low > MAX_DECADES:
        return form
    ticks = line_ticks(low, high, log=True)
    return form | {"tickvals": [10.0**place for place, _ in ticks], "ticktext": [text for _, text in ticks]}


def metric_scale(
    view: TrialsView, values: np.ndarray | None = None, *, whole: bool = False, band: bool = False
) -> Scale:
    """The axis for the values given, or for all of the view's.

    Args:
        view: The sweep.
        values: What is drawn on it.
        whole: Whether it leaves none of them beyond its ends.
        band: Whether its bad end has a place for trials without a value.
    """
    raw = view.values if values is None else values
    raw = raw[np.isfinite(raw)]
    if not raw.size:
        return Scale(view.metric, view.sign, False, 0.0, 1.0, 0.1 if band else 0.0)
    log = bool(view.sign > 0 and raw.min() > 0 and raw.max() > LOG_RATIO * raw.min())
    places = np.log10(raw) if log else raw
    scores = np.sort(view.sign * places)
    good, middle, bad = scores[0], scores[(len(scores) - 1) // 2], scores[-1]
    # At least a decade or a tenth of the value, so that a sweep of equals is not drawn as a mountain range.
    floor = 0.3 if log else 0.1 * abs(float(good)) or 0.1
    bad = min(bad, middle + max(REACH * (middle - good), floor)) if len(scores) > 2 and not whole else bad
    low, high = sorted((view.sign * float(good), view.sign * float(bad)))
    pad = 0.08 * (high - low) or floor
    if math.isinf(high - low):
        low, high, pad = -1e308, 1e308, 0.0
    low, high = low - pad, high + pad
    room = 0.08 * (high - low) if band else 0.0
    if view.sign > 0:
        return Scale(view.metric, view.sign, log, low, high + room, room)
    return Scale(view.metric, view.sign, log, low - room, high, room)
