"""Workers of several sweeps share one of Prefect's global concurrency limits."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.prefect_server import Machine
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]

PROGRAM = """
import os, sys, time
log = os.open(os.environ["DEVICE_LOG"], os.O_WRONLY | os.O_APPEND)
os.write(log, f"+1 {sys.argv[1]}\\n".encode())
time.sleep(0.5)  # the work of an external program: to hold its device for a while
os.write(log, f"-1 {sys.argv[1]}\\n".encode())
print("METRIC loss=1")
"""


def test_two_sweeps_of_dask_never_run_more_batches_than_it_has_slots(office: Machine) -> None:
    (office.directory / "program.py").write_text(PROGRAM)
    log = office.directory / "devices.txt"
    log.touch()
    limit = f"two-devices-{uuid4().hex[:8]}"  # the server has that of an earlier try
    assert office.run("prefect", "gcl", "create", limit, "--limit", "2")[0] == 0

    def start(name: str) -> tuple[str, ...]:
        program = f"command='python program.py {name}'"
        runner = ("runner=dask", "runner.workers=2", "runner.batch_size=1")
        keys = ("metrics=[loss]", "args.lr=0.1,0.2,0.3", f"store={name}", f"runner.concurrency_limit={limit}")
        return "sweepflow", "sweep", "workload=command", program, *keys, *runner

    sweeps = [office.start(*start(name), DEVICE_LOG=str(log)) for name in ("first", "second")]
    for sweep in sweeps:
        assert sweep.process.wait(PATIENCE) == 0, sweep.text

    said = [line.split() for line in log.read_text().splitlines()]
    assert sorted(name for _, name in said) == ["first"] * 6 + ["second"] * 6
    running = [sum(int(change) for change, _ in said[: number + 1]) for number in range(len(said))]
    assert max(running) == 2, said
    assert running[-1] == 0
