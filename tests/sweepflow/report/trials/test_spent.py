from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.report.trials.spent import spent
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def test_best_so_far_goes_by_the_order_asked_for_and_by_the_time_of_writing(
    trial: Trial, view_of: ViewOf
) -> None:
    # Asked for in this order, and written in another; two are of one batch.
    records = [trial(0.5, at=30), trial(0.2, at=20), trial(None, status="diverged", at=10), trial(0.4, at=20)]
    found = spent(view_of(records))
    assert found.order.tolist() == [2, 1, 3, 0]
    np.testing.assert_array_equal(found.best_in_time, [np.nan, 0.2, 0.2, 0.2])
    np.testing.assert_array_equal(found.best, [0.5, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(found.seconds, [2.5, 5.0, 7.5, 10.0])
    assert found.after(0.25) == 0.5 and found.after(0.26) == 0.2 and found.after(1.0) == 0.2


def test_what_halving_stopped_early_is_spent_and_never_the_best(trial: Trial, view_of: ViewOf) -> None:
    values, rungs = (0.1, 0.5, 0.4, 0.2), (1, 2, 2, 1)
    records = [trial(v, at=i, learning_rate=0.1 + i) for i, v in enumerate(values)]
    records = [replace(r, figures={**r.figures, "rung": k}) for r, k in zip(records, rungs, strict=True)]
    view = view_of(records)
    assert view.stopped.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(spent(view).best, [np.nan, 0.5, 0.4, 0.4])


def test_more_is_better_where_it_is_to_be_maximised(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(v, at=i) for i, v in enumerate((0.8, 0.4, 2.0))]
    found = spent(view_of(records, metric="validation_accuracy", goal="maximize"))
    np.testing.assert_allclose(found.best, [0.8, 0.9, 0.9])


@given(st.lists(st.floats(-10, 10) | st.none(), max_size=20))
def test_best_so_far_never_gets_worse_and_ends_at_the_best(values: list[float | None]) -> None:
    base = Record("trl_0", "w", 1, "ok", (), {}, {})
    records = [
        replace(base, id=f"trl_{i}", figures={"m": v}, provenance={"written": f"{i:04d}"})
        for i, v in enumerate(values)
    ]
    found = spent(TrialsView(records, "m", "minimize", frozenset(), {}))
    known = found.best[np.isfinite(found.best)]
    assert (np.diff(known) <= 0).all()
    assert known.size == 0 or known[-1] == min(v for v in values if v is not None)


def test_no_trials_have_spent_nothing(view_of: ViewOf) -> None:
    found = spent(view_of([]))
    assert found.best.size == 0 and np.isnan(found.after(1.0))
