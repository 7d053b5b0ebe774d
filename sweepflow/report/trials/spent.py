"""What a sweep had found after so many trials, and after so many seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sweepflow.report.trials.view import TrialsView


@dataclass(frozen=True, eq=False)
class Spent:
    """What a sweep had found, by the design and by the clock.

    Attributes:
        best: The best value after so many trials in the order asked for, NaN before the first. The order in
            which they ran is one group after another, and says nothing of the design.
        order: Places among the view's records in the order in which they were written.
        seconds: Compile and run seconds of all trials written up to and with each of `order`.
        best_in_time: The best value after each of `order`, NaN before the first.
    """

    best: Float[np.ndarray, " trials"]
    order: Int[np.ndarray, " trials"]
    seconds: Float[np.ndarray, " trials"]
    best_in_time: Float[np.ndarray, " trials"]

    def after(self, share: float) -> float:
        """The best value after this share of the trials asked for, at least one; NaN where there is none."""
        trials = max(1, math.ceil(share * len(self.best) - 1e-9))
        return float(self.best[trials - 1]) if len(self.best) else math.nan


def spent(view: TrialsView) -> Spent:
    """Best so far, by single trials: a mean over repeats is known only when the last of them is there.

    Trials that halving stopped at an earlier rung than others count as spent, and are never the best.
    """
    written = [str(record.provenance.get("written", "")) for record in view.records]
    # Stable: the trials of one batch, written together, keep the order in which they were asked for.
    order = np.array(sorted(range(len(written)), key=written.__getitem__), dtype=np.int64)
    seconds = np.array([sum(view.records[i].seconds.values()) for i in order], dtype=np.float64)
    scores = np.where(np.isfinite(view.scores) & ~view.stopped, view.scores, np.inf)
    return Spent(_so_far(view, scores), order, np.cumsum(seconds), _so_far(view, scores[order]))


def _so_far(view: TrialsView, scores: Float[np.ndarray, " trials"]) -> Float[np.ndarray, " trials"]:
    best = np.minimum.accumulate(scores) if len(scores) else scores
    return view.sign * np.where(np.isfinite(best), best, np.nan)
