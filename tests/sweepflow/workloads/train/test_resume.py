"""A training that stops after some epochs and goes on from its kept state is the training in one go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sweepflow.engine.segments import Pace, StoppedError
from sweepflow.errors import StoreError
from sweepflow.schema.model import MlpModel
from sweepflow.storage.store import Store
from sweepflow.workloads.train.workload import ENGINE, TRAIN, until

from .conftest import SMALL

SETTINGS: dict[str, Any] = {
    "data": SMALL,
    "model": MlpModel(widths=(4, 3)),
    "batch_size": 16,
    "epochs": 7,
    "schedule": "plateau",
    "plateau_patience": 1,
    "learning_rate": 1.0,
    "augmentation_noise": 0.2,
    "dropout": 0.1,
}
"""Everything that has a state: moments, plateau, and noise that is drawn anew in every epoch."""


@pytest.mark.slow
def test_in_parts_and_in_one_go(trial: Callable[..., Any], run_trials: Callable[..., Any]) -> None:
    whole = [trial(SETTINGS, seed=seed) for seed in range(2)]
    plain = run_trials(whole)

    parts = [until(one, 2, 0) for one in whole]
    first = run_trials(parts)
    for i in range(2):
        assert parts[i].id != whole[i].id
        record, curves = first.record(i), first.arrays(i)
        assert record.figures["epochs_run"] == 2
        assert record.figures["validation_loss"] == curves["curve.validation_loss"][1]
        assert np.isnan(curves["curve.validation_loss"][2:]).all()
        assert [name for name in curves if name.startswith("state.")]

    second = run_trials([until(one, 5, 2) for one in whole], first.store)
    straight = run_trials([until(one, 5, 0) for one in whole])
    rest = run_trials([until(one, None, 5) for one in whole], first.store)
    from_first = run_trials([until(one, None, 2) for one in whole], first.store)
    for i in range(2):
        assert second.trials[i].id == straight.trials[i].id, "where it went on from does not matter"
        assert second.outcome(i) == straight.outcome(i)
        assert rest.trials[i].id == whole[i].id == TRAIN.trial(rest.trials[i].config).id
        assert rest.outcome(i) == from_first.outcome(i)
        assert rest.outcome(i) == plain.outcome(i), "and a training that is over keeps no state"
    assert (np.diff(plain.arrays()["curve.learning_rate"])[:4] < 0).any(), "plateau has acted before"


@pytest.mark.slow
def test_cut_between_its_epochs(
    trial: Callable[..., Any], run_trials: Callable[..., Any], store: Store, compilations: list[str]
) -> None:
    """Halving's parts and checkpoints together: stopped in the first part, and twice in the second."""
    whole = [trial(SETTINGS, seed=seed) for seed in range(2)]
    plain = run_trials(whole)
    compilations.clear()
    parts = [until(one, 3, 0) for one in whole]
    rest = [until(one, None, 3) for one in whole]
    for trials, cuts in ((parts, (2,)), (rest, (1, 2))):
        for epochs in cuts:
            calls = iter(range(epochs + 1))
            pace = Pace(call_seconds=0.0, stop=lambda calls=calls, epochs=epochs: next(calls) == epochs)
            with pytest.raises(StoppedError):
                run_trials(trials, store, pace=pace)
            assert len(list(store.paths.checkpoints.glob("*/*"))) == 2
        ran = run_trials(trials, store)
        assert not list(store.paths.checkpoints.glob("*/*"))
    for i in range(2):
        assert ran.outcome(i) == plain.outcome(i)
    assert not compilations


@pytest.mark.slow
def test_going_on_in_a_wider_program(trial: Callable[..., Any], run_trials: Callable[..., Any]) -> None:
    """A sweep with --pad-widths that is extended by wider networks goes on from what narrower ones kept."""
    narrow, wide = (trial(SETTINGS, model=MlpModel(widths=widths)) for widths in ((4, 3), (5, 4)))
    store = run_trials([until(narrow, 2, 0)]).store
    kept = store.arrays(until(narrow, 2, 0).id)["state.0"]
    assert kept.shape == (4 * 4 + 5 * 3 + 4,)
    padded, _ = TRAIN.pad([until(narrow, None, 2), until(wide, 2, 0)])
    assert padded.config.pad_widths_to == (5, 4)
    wider = run_trials([padded], store).record()
    kept_on = run_trials([narrow_rest := until(narrow, None, 2)], store)
    assert wider.id == narrow_rest.id
    plain = kept_on.record()
    assert wider.figures["validation_loss"] == pytest.approx(plain.figures["validation_loss"], rel=1e-4)
    # And a state that a padded program kept is the trial's own.
    again = run_trials([TRAIN.pad([until(narrow, 2, 0), until(wide, 2, 0)])[0]])
    np.testing.assert_allclose(again.arrays()["state.0"], kept, rtol=1e-4, atol=1e-6)


def test_a_state_that_went(trial: Callable[..., Any], store: Store) -> None:
    on = until(trial(SETTINGS), None, 3)
    with pytest.raises(StoreError, match="went from the store") as caught:
        ENGINE.obstacle(on, store)
    assert "epoch 3" in str(caught.value)
    assert ENGINE.obstacle(trial(SETTINGS), store) is None
