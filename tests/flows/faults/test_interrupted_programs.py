"""External programs whose sweep is ended: what they print and return as they are ended is no result."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from sweepflow.compose.grammar import quote
from tests.flows.faults.lab import ON_SLURM, Lab
from tests.prefect_server import Machine
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

PROGRAM = """
import pathlib, signal, sys, time
given = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
begun = pathlib.Path(given["folder"]) / given["how"]
if begun.exists():
    print("METRIC loss=1")
else:
    if given["how"] == "leaves":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("METRIC loss=9", flush=True)
    begun.touch()
    time.sleep(600)
"""
"""Runs for long the first time: one dies when asked to end, one leaves with what it has printed so far."""


def test_they_are_run_again_when_the_sweep_is_resumed(lab: Lab, office: Machine, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    hows = ("dies", "leaves")
    command = quote(shlex.join([sys.executable, str(script)]))
    overrides = lab.here(
        *("workload=command", f"command={command}", "metrics=[loss]"),
        *(f"args.how={','.join(hows)}", f"args.folder={tmp_path}", "max_concurrent=2"),
        *(*ON_SLURM, "runner.batch_size=2"),
    )
    assert lab.slurm is not None
    driver = office.start("sweepflow", "sweep", *overrides, "--goal", "minimize", **lab.slurm.environment)
    wait_for(lambda: all((tmp_path / how).exists() for how in hows), "both run")
    driver.process.terminate()
    assert driver.process.wait(PATIENCE) == 143, driver.text
    wait_for(lab.slurm.squeue, "its jobs are gone", until=lambda jobs: not jobs)
    assert not list(lab.store.records("trl")), "they have no result"
    run = lab.prefect.newest()
    assert [task.state.type.name for task in lab.prefect.see().tasks] == ["CRASHED"]

    code, text = office.run("sweepflow", "resume", "--store", lab.store.root, **lab.slurm.environment)
    assert code == 0, text
    records = list(lab.store.records("trl"))
    assert [(record.status, record.figures["loss"]) for record in records] == [("ok", 1.0)] * 2
    assert lab.prefect.newest() == run, "the same run goes on"
    batches = [task for task in lab.prefect.see().tasks if "batch" in task.name]
    assert sorted(task.state.type.name for task in batches) == ["COMPLETED", "CRASHED"]
    lab.nothing_is_left()
