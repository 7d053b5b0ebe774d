"""A trial that ends its workers is found, marked, and the others of its batch have their results."""

from __future__ import annotations

from typing import Any

import pytest

from sweepflow.flows.dispatch.blame import MOST_LOSSES
from sweepflow.storage.store import Store
from tests.flows.faults.lab import Lab, bits

pytestmark = [pytest.mark.server, pytest.mark.slow]

INNOCENT = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
GUILTY = -1.0


def test_it_alone_is_failed(store: Store, prefect: Any, undisturbed: Any) -> None:
    lab = Lab(store, prefect)
    runner = ("runner=dask", "runner.workers=1")
    found = lab.sweep(lab.walks([*INNOCENT[:3], GUILTY, *INNOCENT[3:]], *runner, batch_size=8))

    assert not found.sound
    statuses = {trial.config["drift"]: trial.status for trial in found.trials}
    assert statuses == {**dict.fromkeys(INNOCENT, "ok"), GUILTY: "failed"}
    (guilty,) = [trial for trial in found.trials if trial.status == "failed"]
    assert guilty.reasons[0].startswith("it ended its worker 3 times; the last time: ")
    again, _ = lab.lost()
    assert len(again) <= MOST_LOSSES + 3 + MOST_LOSSES, "three as eight, then four, two, one"
    kept = {i: record for i, record in bits(store).items() if i != guilty.id}
    assert kept == undisturbed(lab.walks(INNOCENT, batch_size=8))
    assert prefect.see().run.state.name == "Completed"
    lab.nothing_is_left()
