"""Overhead, which is all time that is not compute: wall time minus the time to compile and run the code."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.commands import SWEEPFLOW, seconds, surroundings
from sweepflow.storage.store import Store

SMALL = (
    "model=small",
    "model.target_params=60",
    "data.n_data=100",
    "data.n_test=10",
    "target.steps=100",
    "sampler=hmc",
    "sampler.chains=2",
    "sampler.draws=50",
    "sampler.warmup=50",
)


def server_start(directory: Path) -> float:
    """Return the seconds that the embedded server takes to start, without the import of Prefect."""
    code = (
        "import time, prefect.context, prefect.settings\n"
        "from sweepflow.flows.server.embedded import prefect_server\n"
        "t = time.perf_counter()\n"
        "with prefect_server(): print(time.perf_counter() - t)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], env=surroundings(directory), check=True, capture_output=True, text=True
    )
    return float(output.stdout.split()[-1])


def overhead(directory: Path) -> list[tuple[str, str]]:
    """Measure the overhead at 12 and at 1,200 estimates, without the start of the embedded server."""
    surroundings_once = directory / "overhead"
    server_start(surroundings_once)  # makes the database, which is done once
    start = server_start(surroundings_once)
    rows = [("start of Prefect's embedded server", f"{start:.1f} s")]
    for estimates, allowed in ((12, 10 + 12 * 0.005), (1200, 10 + 1200 * 0.005)):
        store = directory / f"store{estimates}"
        seeds = f"sampler.seed=range(0,{estimates // 4})"
        command = [SWEEPFLOW, "llc", f"store={store}", *SMALL, "target.seed=1,2,3,4", seeds]
        wall = seconds(command, surroundings(surroundings_once))
        opened = Store(store)
        records = [*opened.records("tgt"), *opened.records("est")]
        compute = sum(r.seconds["run"] + r.seconds["compile"] for r in records)
        rest = wall - compute - start
        rows.append(
            (f"not compute, {estimates} estimates (wanted: at most {allowed:.1f} s)", f"{rest:.1f} s")
        )
    return rows


def expansion() -> list[tuple[str, str]]:
    """Measure the expansion and validation of 10,000 configurations from one command line."""
    from sweepflow.compose import compose_llc

    compose_llc([])  # imports
    sizes = ",".join(f"{i}e-7" for i in range(1, 101))
    started = time.perf_counter()
    configs = compose_llc(["target.seed=range(0,100)", f"sampler.step_size={sizes}"])
    elapsed = time.perf_counter() - started
    return [(f"{len(configs):,} configurations expanded (wanted: under 3 s)", f"{elapsed:.2f} s")]
