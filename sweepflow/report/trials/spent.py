"""Best value of a sweep after each number of trials, and after each number of seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sweepflow.report.trials.view import TrialsView


@dataclass(frozen=True, eq=False)
class Spent:
    """The best value of a sweep, in the order of the design and in the order of time.

    Attributes:
        best: The best value after each trial in the requested order; NaN before the first value. Trials run
            one group after another, so the order in which they ran does not describe the design.
        order: Indices into the view's records, in the order in which the records were written.
        seconds: Compile and run seconds of all trials written up to and including each trial of `order`.
        best_in_time: The best value after each trial of `order`; NaN before the first value.
    """

    best: Float[np.ndarray, " trials"]
    order: Int[np.ndarray, " trials"]
    seconds: Float[np.ndarray, " trials"]
    best_in_time: Float[np.ndarray, " trials"]

    def after(self, share: float) -> float:
        """The best value after this share of the requested trials, at least one; NaN if there is no value."""
        trials = max(1, math.ceil(share * len(self.best) - 1e-9))
        return float(self.best[trials - 1]) if len(self.best) else math.nan


def spent(view: TrialsView) -> Spent:
    """Compute the best value so far by single trials: a mean over repeats is only known after the last one.

    Trials that halving stopped at an earlier rung than others count as cost, but are never the best.
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
