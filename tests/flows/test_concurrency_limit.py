"""Sweeps that name one global concurrency limit of Prefect's take turns."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import pytest

from tests.prefect_server import Machine, Running
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]

PROGRAM = """
import os, sys, time
log = open(os.environ["DEVICE_LOG"], "a", buffering=1)
log.write(f"{sys.argv[1]} begins\\n")
time.sleep(0.5)  # the work of an external program: to hold its device for a while
log.write(f"{sys.argv[1]} ends\\n")
print("METRIC loss=1")
"""


def test_no_two_batches_run_at_once(office: Machine) -> None:
    (office.directory / "program.py").write_text(PROGRAM)
    log = office.directory / "devices.txt"
    limit = "one-device"
    assert office.run("prefect", "gcl", "create", limit, "--limit", "1")[0] == 0

    def start(name: str) -> tuple[str, ...]:
        program = f"command='python program.py {name}'"
        keys = ("metrics=[loss]", "args.lr=0.1,0.2,0.3", f"store={name}", f"runner.concurrency_limit={limit}")
        return "sweepflow", "sweep", "workload=command", program, *keys

    sweeps = [office.start(*start(name), DEVICE_LOG=str(log)) for name in ("first", "second")]
    for sweep in sweeps:
        assert sweep.process.wait(PATIENCE) == 0, sweep.text

    said = log.read_text().split("\n")[:-1]
    owners = [line.split()[0] for line in said]
    assert sorted(owners) == ["first"] * 6 + ["second"] * 6
    assert sum(before != after for before, after in pairwise(owners)) == 1, said


def test_a_sweep_that_waits_for_a_slot_can_be_ended(office: Machine) -> None:
    (office.directory / "program.py").write_text(PROGRAM.replace("0.5", "60"))
    limit = f"taken-{uuid4().hex[:8]}"  # the server is that of other tests, too
    assert office.run("prefect", "gcl", "create", limit, "--limit", "1")[0] == 0
    log = office.directory / "devices.txt"
    log.touch()
    keys = ("metrics=[loss]", "args.lr=0.1", f"runner.concurrency_limit={limit}")

    def start(name: str) -> Running:
        program = f"command='python program.py {name}'"
        sweep = ("sweepflow", "sweep", "workload=command", program, *keys, f"store={name}")
        return office.start(*sweep, DEVICE_LOG=str(log))

    holder = start("holder")
    holder.wait_for(lambda _: "holder begins" in log.read_text())
    waiter = start("waiter")
    runs = office.directory / "waiter" / "runs"
    waiter.wait_for(lambda _: bool(list(runs.glob("*.json"))))
    for sweep in (waiter, holder):
        sweep.process.terminate()
        assert sweep.process.wait(PATIENCE) == 143, sweep.text
        assert "what is done is kept" in sweep.text
    assert "waiter" not in log.read_text()


def test_a_limit_that_is_not_there_is_refused_before_any_work(office: Machine) -> None:
    code, text = office.run(
        "sweepflow", "sweep", "workload=landscape", "x=0,1", "runner.concurrency_limit=nothing", "store=here"
    )
    assert code == 2
    assert "there is no such global concurrency limit" in text
    assert "prefect gcl create nothing" in text
    assert not list((office.directory / "here").glob("trials/??/*.json"))
