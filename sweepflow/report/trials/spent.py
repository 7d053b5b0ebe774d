"""What a sweep had found after so many trials, and after so many seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sweepflow.report.trials.view import TrialsView


@dataclass(frozen=True, eq=False)
class Spent:
    """A sweep in the order in which its trials were written.

    Attributes:
        order: Places among the view's records.
        seconds: Compile and run seconds of all trials up to and with this one.
        best: The best value so far, NaN before the first.
    """

    order: Int[np.ndarray, " trials"]
    seconds: Float[np.ndarray, " trials"]
    best: Float[np.ndarray, " trials"]

    def after(self, share: float) -> float:
        """The best value after this share of the trials, at least one; NaN where there is none."""
        trials = max(1, math.ceil(share * len(self.best) - 1e-9))
        return float(self.best[trials - 1]) if len(self.best) else math.nan


def spent(view: TrialsView) -> Spent:
    """Best so far, by single trials: a mean over repeats is known only when the last of them is there."""
    written = [str(record.provenance.get("written", "")) for record in view.records]
    # Stable: the trials of one batch, written together, keep the order in which they were asked for.
    order = np.array(sorted(range(len(written)), key=written.__getitem__), dtype=np.int64)
    seconds = np.array([sum(view.records[i].seconds.values()) for i in order], dtype=np.float64)
    scores = np.where(np.isfinite(view.scores), view.scores, np.inf)[order]
    best = np.minimum.accumulate(scores) if len(scores) else scores
    return Spent(order, np.cumsum(seconds), view.sign * np.where(np.isfinite(best), best, np.nan))
