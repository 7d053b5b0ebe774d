"""The `verify` flow where it cannot do its work."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.states import State

from sweepflow.errors import IncompleteError
from sweepflow.flows.verify import verify
from sweepflow.storage.store import Store
from sweepflow.verify import cases

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_a_comparison_that_is_not_whole_is_not_made(prefect: Any, store: Store) -> None:
    """A file stands where targets belong: what is built cannot be kept, so there is nothing to sample."""
    store.root.mkdir(parents=True)
    store.paths.folder("tgt").write_text("a file where a directory belongs")

    state: State[Any] = verify(quick=True, store=str(store.root), return_state=True)

    assert state.is_failed()
    error = state.result(raise_on_failure=False)
    assert isinstance(error, IncompleteError)
    assert error.exit_code == 1
    missing, _, trials = error.what.removesuffix(" trials have no result").partition(" of ")
    assert missing == trials and int(trials) > len(cases(quick=True)), "every target and every estimate"
    said = str(error.got)
    assert "the store cannot be written: " in said and str(store.paths.folder("tgt")) in said

    seen = prefect.see(state)
    assert {task.name.split(":")[0] for task in seen.tasks} == {"target"}
    assert {task.state.name for task in seen.tasks} == {"Failed"}
    assert {task.run_count for task in seen.tasks} == {1}, "nobody mends a wrong path by waiting"
