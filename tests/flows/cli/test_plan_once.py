"""A command composes its overrides once, plans once, and hands the plan to its flow."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hydra
import pytest

from sweepflow.flows.cli.llc import llc
from sweepflow.flows.cli.sweep import sweep
from sweepflow.jobs.sweepers import override
from sweepflow.storage.store import Store
from tests.prefect_server import TINY

pytestmark = [pytest.mark.server, pytest.mark.slow]
GRID = ["workload=landscape", "steps=5", "x=0.1,0.2", "y=0.1,0.2"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often Hydra composes, and how often a record is looked for."""
    found: Counter[str] = Counter()
    for owner, name in ((hydra, "compose"), (Store, "get")):
        original = getattr(owner, name)

        def call(*args: Any, original: Any = original, name: str = name, **kwargs: Any) -> Any:
            found[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)
    return found


@pytest.mark.parametrize(
    ("command", "overrides", "trials"), [(sweep, GRID, 4), (llc, TINY, 2)], ids=["sweep", "llc"]
)
def test_it_composes_and_plans_once(
    command: Any, overrides: list[str], trials: int, prefect: Any, store: Store, counted: Counter[str]
) -> None:
    overrides = [*overrides, override("store", str(store.root))]
    command(overrides)
    assert counted["compose"] == 1
    # To plan, in the batch that may find another sweep's, and for the tables.
    first = counted["get"]
    counted.clear()
    command(overrides)
    assert counted["compose"] == 1 and counted["get"] == 2 * trials, "to plan, and for the tables"
    assert first <= 6 * trials


def test_a_rerun_is_asked_for_by_the_flow_and_planned_once(
    prefect: Any, store: Store, counted: Counter[str]
) -> None:
    overrides = [*GRID, override("store", str(store.root))]
    sweep(overrides)
    before = {record.id: record.provenance["written"] for record in store.records("trl")}
    counted.clear()
    sweep(overrides, rerun=True)
    assert counted["compose"] == 1
    after = {record.id: record.provenance["written"] for record in store.records("trl")}
    assert after.keys() == before.keys() and all(after[i] != before[i] for i in before)
