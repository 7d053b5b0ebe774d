"""Two sweeps in two threads of one process, as in a notebook or an application."""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sweepflow import sweep
from sweepflow.compose.grammar import quote
from sweepflow.flows.runs.record import runs
from sweepflow.storage.store import Store
from sweepflow.tasks.progress import TooManyFailuresError
from tests.slurm.processes import PATIENCE, wait_for

PROGRAM = """
import pathlib, sys, time
x = int(sys.argv[1].partition("=")[2])
here = pathlib.Path(__file__).parent
if x < 10:
    (here / f"begun {x}").touch()
    while not (here / "gate").exists():
        time.sleep(0.05)
print(f"METRIC loss={x}")
sys.exit(x >= 10)
"""
"""Waits for a gate for every x below 10, and fails for all others."""


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_one_that_is_ended_early_ends_nothing_of_the_other(
    prefect: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = f"command={quote(shlex.join([sys.executable, str(program)]))}"
    stores = Store(tmp_path / "one"), Store(tmp_path / "other")
    ends: list[Any] = []

    def run(store: Store, xs: str, **options: Any) -> Any:
        where = ["workload=command", command, "metrics=[loss]", f"args.x={xs}", f"store={store.root}"]
        return sweep(overrides=where, **options)

    def other() -> None:
        try:
            ends.append(run(stores[1], "1,2"))
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        wait_for(lambda: list(tmp_path.glob("begun *")), "the other is at work")
        with pytest.raises(TooManyFailuresError):
            run(stores[0], "10,11,12,13", max_failures=2)
        assert prefect.see().run.state.name == "Failed"
    finally:
        (tmp_path / "gate").touch()
        thread.join(PATIENCE)
    (found,) = ends
    assert [record.status for record in found.trials] == ["ok", "ok"], ends
    assert [(run.state, run.done) for run in runs(stores[1])] == [("completed", 2)]
    assert "trials 2/2" in capfd.readouterr().err, "it is heard to its end; the first has no two trials"
