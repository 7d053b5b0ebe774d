"""Importance of keys: permutation importance of a random forest, measured on unseen configurations.

Breiman, "Random forests", Machine Learning 45 (2001), section 10; by scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweepflow.report.trials.configurations import configurations
from sweepflow.report.trials.dimension import Dimension
from sweepflow.report.trials.view import TrialsView

MIN_CONFIGURATIONS, MIN_FOR_A_KEY = 20, 4
"""Minimum number of configurations, in total and for each key; results from fewer would mean nothing."""
MAX_CONFIGURATIONS = 1000
"""Most configurations that are used: more do not change the answer, and fitting must not delay a report."""
MIN_R2 = 0.1
"""Minimum R² on unseen configurations; a forest with less has learnt nothing about the keys."""
FOLDS, TREES, SHUFFLES = 4, 50, 5


@dataclass(frozen=True, eq=False)
class Importance:
    """The loss of the forest's R² when a key's settings are shuffled.

    Attributes:
        order: Indices of the keys in the dimensions, the most important first; by rank correlation with the
            metric if the forest gives no information.
        mean: The loss of R², by dimension; empty if `too_few`.
        sd: Standard deviation of the loss over folds and shuffles.
        r2: R² on configurations that the forest did not see (cross-validated); None if `too_few`.
        n: Number of configurations with a value.
        used: Number of these configurations that the forest was fitted to.
        needed: Number of configurations that these keys need.
    """

    order: Sequence[int]
    mean: np.ndarray
    sd: np.ndarray
    r2: float | None
    n: int
    used: int
    needed: int

    @property
    def too_few(self) -> bool:
        """True if there are too few configurations to fit a forest."""
        return self.r2 is None

    @property
    def means_something(self) -> bool:
        """True if the forest predicts configurations that it did not see."""
        return self.r2 is not None and self.r2 >= MIN_R2


def importance(view: TrialsView, axes: Sequence[Dimension]) -> Importance:
    """Permutation importance of every varying key for the rank of a configuration's mean metric.

    The forest predicts ranks, so that a few very large losses do not outweigh everything else. Trials without
    a value are not used. If there are too few configurations, or the forest is no better than chance, the
    keys are in the order of their rank correlation.
    """
    from scipy.stats import rankdata  # late: every flow imports this module, and scipy.stats takes a while

    found = [(c.place, c.mean) for c in configurations(view) if c.mean is not None]
    needed = max(MIN_CONFIGURATIONS, MIN_FOR_A_KEY * len(axes))
    stride = -(-len(found) // MAX_CONFIGURATIONS) or 1
    places = np.array([place for place, _ in found], dtype=np.int64)[::stride]
    ranks = rankdata([view.sign * mean for _, mean in found])[::stride] if found else np.empty(0)
    x = np.stack([axis.at[places] for axis in axes], axis=1) if axes else np.empty((len(places), 0))
    order = sorted(range(len(axes)), key=lambda i: -_correlation(x[:, i], ranks))
    if len(found) < needed or not axes or np.ptp(ranks) == 0:
        return Importance(order, np.empty(0), np.empty(0), None, len(found), len(places), needed)
    losses, r2 = _losses(x, ranks)
    mean, sd = losses.mean(axis=1), losses.std(axis=1, ddof=1)
    if r2 >= MIN_R2:
        order = [int(i) for i in np.argsort(-mean, kind="stable")]
    return Importance(order, mean, sd, r2, len(found), len(places), needed)


def _losses(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    # Takes about 2 s to import, and a sweep that finds all of its trials in the store may want no report.
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    losses, unexplained = [], 0.0
    for fold, (seen, unseen) in enumerate(KFold(FOLDS, shuffle=True, random_state=0).split(x)):
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=fold).fit(x[seen], y[seen])
        shuffled = permutation_importance(forest, x[unseen], y[unseen], n_repeats=SHUFFLES, random_state=fold)
        losses.append(shuffled.importances)
        unexplained += float(((forest.predict(x[unseen]) - y[unseen]) ** 2).sum())
    return np.concatenate(losses, axis=1), 1 - unexplained / float(((y - y.mean()) ** 2).sum())


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    from scipy.stats import spearmanr

    found = abs(float(spearmanr(x, y).statistic))
    return found if math.isfinite(found) else 0.0
