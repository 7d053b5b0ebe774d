"""One varying key as an axis: the position of each trial, and the ticks with their labels.

Every axis has its own coordinates. So logarithms, categories and settings that have no place on a number line
(`none`, an absent key, a zero on a log scale) share one axis: numbers are at their positions, and all other
settings are before the lowest number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sweepflow.report.charts.running import log_ticks
from sweepflow.report.labels import ABSENT
from sweepflow.report.numbers import setting
from sweepflow.report.trials.view import TrialsView

MAX_NAMED, MIN_GAP = 8, 0.06
"""Most distinct round numbers with a tick each, and their minimum distance as a share of the axis."""
GRID_RATIO, GEOMETRIC_RATIO = 50.0, 4.0
"""Ratios from which a few numbers get a log scale, even if nothing asks for it: if they span more than the
first ratio, or more than the second ratio in steps that are more even as ratios (32, 64, 128)."""

Ticks = list[tuple[float, str]]


@dataclass(frozen=True, eq=False)
class Dimension:
    """A varying key as an axis.

    Attributes:
        key: Dotted key.
        name: Short name, as in the table.
        continuous: Whether the axis is a number line; otherwise it is a list of choices.
        log: Whether the positions of numbers are their logarithms (base 10).
        at: Position of each trial; finite for all of them.
        texts: Each trial's setting as text.
        ticks: Positions and their labels, from low to high.
        low: Beginning of the axis.
        high: End of the axis.
        start: Beginning of the number line; positions before it are for settings that are no numbers.
    """

    key: str
    name: str
    continuous: bool
    log: bool
    at: Float[np.ndarray, " trials"]
    texts: Sequence[str]
    ticks: Ticks
    low: float
    high: float
    start: float = 0.0

    @property
    def title(self) -> str:
        """The name, with `(log)` for a log scale."""
        return f"{self.name} (log)" if self.log else self.name

    @property
    def crowded(self) -> bool:
        """True if many trials have the same position, so that a little scatter makes them visible."""
        return len(np.unique(self.at)) * 4 < len(self.at)

    @property
    def numbers(self) -> np.ndarray:
        """Mask of the trials that are on the number line."""
        return self.at >= self.start if self.continuous else np.zeros(len(self.at), dtype=bool)

    def scattered(self, numbers: Int[np.ndarray, " trials"]) -> Float[np.ndarray, " trials"]:
        """The positions `at`, with a little even scatter if many trials have the same position.

        Args:
            numbers: A number for each trial; trials with the same number are moved equally.
        """
        if not self.crowded:
            return self.at
        gaps = np.diff(np.unique(self.at))
        width = 0.36 * float(gaps.min()) if gaps.size else 0.1 * (self.high - self.low)
        # Multiples of the golden ratio spread evenly, however many there are.
        return self.at + width * ((numbers * 0.6180339887) % 1 - 0.5)

    def unit(self, at: np.ndarray) -> np.ndarray:
        """Positions as shares of the axis, 0 at its beginning and 1 at its end."""
        return (at - self.low) / (self.high - self.low)


def dimensions(view: TrialsView) -> list[Dimension]:
    """Every varying key as an axis, in the configurations' order."""
    return [_dimension(view, key) for key in view.varying]


def line_ticks(low: float, high: float, log: bool, at_most: int = 7) -> Ticks:
    """Round numbers between two positions of a number line; positions are logarithms if `log` is true."""
    if log:
        decades = [10.0**i for i in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
        values = decades if len(decades) > 2 else log_ticks(10.0**low, 10.0**high * (1 + 1e-9))
        stride = -(-len(values) // at_most) if values else 1
        return [(math.log10(v), setting(float(f"{v:.6g}"))) for v in values[::stride]]
    step = _round_step((high - low) / max(at_most - 2, 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, setting(float(f"{i * step:.6g}"))) for i in range(first, last + 1)]


def _dimension(view: TrialsView, key: str) -> Dimension:
    values = [settings.get(key, ABSENT) for settings in view.settings]
    shown = [view.text(place, key) for place in range(len(values))]
    given = [v for v in values if v is not None and v is not ABSENT]
    if given and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given):
        return _line(view, key, values, shown)
    return _choices(view, key, values, shown)


def _line(view: TrialsView, key: str, values: Sequence[Any], shown: Sequence[str]) -> Dimension:
    raw = np.array([v if isinstance(v, (int, float)) else np.nan for v in values], dtype=np.float64)
    distinct = np.unique(raw[np.isfinite(raw)])
    positive = distinct[distinct > 0]
    log = bool(positive.size) and (key in view.log_keys or _is_geometric(distinct))
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.where(raw > 0, np.log10(np.where(raw > 0, raw, 1.0)), np.nan)
    else:
        at = raw.copy()
    line = at[np.isfinite(at)]
    low, high = float(line.min()), float(line.max())
    span = high - low or max(abs(high), 1.0) * 0.5
    # What is not on the number line: one place each before its lowest number.
    off = list(dict.fromkeys(text for text, place in zip(shown, at, strict=True) if math.isnan(place)))
    slots = {text: low - 0.16 * span * (len(off) - i) for i, text in enumerate(off)}
    at = np.array([slots[t] if math.isnan(p) else p for t, p in zip(shown, at, strict=True)])
    places = np.unique(line)
    gap = float(np.diff(places).min()) if len(places) > 1 else span
    if len(places) == 1 or (_is_grid(distinct) and gap > MIN_GAP * span):
        names = {float(p): t for p, t in zip(at, shown, strict=True)}
        ticks: Ticks = [(float(p), names[float(p)]) for p in places]
    else:
        ticks = line_ticks(low, high, log)
    # Room for the scatter of what stands at one place.
    pad = max(0.04 * span, 0.24 * gap) if len(places) <= MAX_NAMED else 0.04 * span
    return Dimension(
        key=key,
        name=view.names[key],
        continuous=True,
        log=log,
        at=at,
        texts=shown,
        ticks=[(p, t) for t, p in slots.items()] + ticks,
        low=min(slots.values(), default=low) - pad,
        high=high + pad if high > low else high + 0.5 * span,
        start=low,
    )


def _is_grid(distinct: np.ndarray) -> bool:
    """Return whether these are few numbers, with at most three significant digits."""
    return len(distinct) <= MAX_NAMED and all(float(f"{v:.3g}") == v for v in distinct.tolist())


def _is_geometric(distinct: np.ndarray) -> bool:
    positive = distinct[distinct > 0]
    if not _is_grid(distinct) or len(positive) < 2 or distinct[0] < 0:
        return False
    ratio = float(positive[-1] / positive[0])
    steps, ratios = np.diff(positive), np.diff(np.log(positive))
    even = float(ratios.std() / ratios.mean()) < float(steps.std() / steps.mean()) - 1e-9
    return ratio > GRID_RATIO or (ratio > GEOMETRIC_RATIO and even)


def _choices(view: TrialsView, key: str, values: Sequence[Any], shown: Sequence[str]) -> Dimension:
    order: dict[str, Any] = {}
    for text, value in zip(shown, values, strict=True):
        order.setdefault(text, value)
    names = sorted(order, key=lambda text: _rank(order[text]))
    places = {text: float(i) for i, text in enumerate(names)}
    return Dimension(
        key=key,
        name=view.names[key],
        continuous=False,
        log=False,
        at=np.array([places[text] for text in shown]),
        texts=shown,
        ticks=[(place, text) for text, place in places.items()],
        low=-0.5,
        high=len(names) - 0.5,
    )


def _rank(value: Any) -> tuple[int, float, float]:
    """Sort key: absent and none first, then numbers and lists by size; words keep the requested order."""
    if value is None or value is ABSENT:
        return 0, 0.0, 0.0
    if isinstance(value, (int, float)):
        return 1, float(value), 0.0
    if isinstance(value, (list, tuple)):
        numbers = [v for v in value if isinstance(v, (int, float))]
        return 2, float(len(value)), float(sum(numbers))
    return 3, 0.0, 0.0


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9))
