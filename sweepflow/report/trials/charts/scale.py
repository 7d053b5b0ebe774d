"""The metric's axis: linear or logarithmic, with as many bad values as keep the good values readable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweepflow.report.charts.panel import Json, axis_title, escaped
from sweepflow.report.numbers import counted, points
from sweepflow.report.trials.dimension import Ticks, line_ticks
from sweepflow.report.trials.view import TrialsView

LOG_RATIO = 20.0
"""Ratio from which a metric that is minimised gets a log axis, if all its values are positive."""
MAX_DECADES = 5.0
"""Most decades for which the ticks are chosen here; beyond that Plotly finds better ticks."""
REACH = 6.0
"""Most that the axis extends beyond the better half of the values, in units of that half's span."""


@dataclass(frozen=True)
class Scale:
    """The metric's axis.

    Attributes:
        metric: Name of the figure.
        sign: 1 if less is better, -1 if more is better.
        log: Whether the axis is logarithmic (base 10).
        low: Beginning of the axis, as a logarithm if `log`.
        high: End of the axis, as a logarithm if `log`.
        band: Width of the band at the bad end that is kept for trials without a value.
    """

    metric: str
    sign: float
    log: bool
    low: float
    high: float
    band: float = 0.0

    def at(self, values: np.ndarray) -> np.ndarray:
        """Positions of values on the axis; values beyond an end are moved to that end, and NaN stays NaN."""
        with np.errstate(divide="ignore", invalid="ignore"):
            places = np.log10(np.where(values > 0, values, np.nan)) if self.log else values
        low, high = self.ends
        pad = 0.015 * (high - low)
        return np.clip(places, low + pad, high - pad)

    @property
    def ends(self) -> tuple[float, float]:
        """The positions between which values are drawn."""
        return (self.low, self.high - self.band) if self.sign > 0 else (self.low + self.band, self.high)

    def drawn(self, values: np.ndarray) -> list[float | None]:
        """Values for Plotly's axis; values beyond an end are moved to that end."""
        places = self.at(values)
        return points(10.0**places if self.log else places, 6)

    @property
    def worst(self) -> float:
        """The bad end of the axis, where trials without a value are drawn."""
        return self.high if self.sign > 0 else self.low

    @property
    def edge(self) -> float:
        """The middle of the band, as a value for Plotly's axis."""
        place = self.worst - self.sign * self.band / 2
        return float(f"{10.0**place if self.log else place:.6g}")

    @property
    def title(self) -> str:
        """The metric, with `(log)` for a log scale."""
        return f"{self.metric} (log)" if self.log else self.metric

    @property
    def better(self) -> str:
        """The direction of better values, in words."""
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
        """A note on the values beyond an end, if there are any."""
        outside = self.outside(values)
        return [f"{counted(outside, 'trial')} beyond the drawn range: drawn at its edge."] if outside else []

    def outside(self, values: np.ndarray) -> int:
        """Number of values beyond an end."""
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
    """The axis for the given values, or for all values of the view.

    Args:
        view: The sweep.
        values: Values that are drawn on the axis.
        whole: Whether all values lie within the ends of the axis.
        band: Whether the bad end has a band for trials without a value.
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
