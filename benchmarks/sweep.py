"""The 12-job sweep against 12 processes of the same program, and the benefit of the caches."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.commands import JOBS, SWEEPFLOW, seconds, surroundings

COUNT = """
import json, sys, time
import jax
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: event.endswith("backend_compile_duration") and compiled.append(duration))
from sweepflow import llc
from sweepflow.flows.server.embedded import prefect_server
with prefect_server():
    started = time.perf_counter()
    llc(overrides=sys.argv[1:])
print(json.dumps({"compilations": len(compiled), "seconds": time.perf_counter() - started}))
"""


def against_processes(directory: Path) -> list[tuple[str, str]]:
    """Compare the sweep, cold and with everything in the store, with one process per job.

    Every process has a store of its own and compiles for itself, as jobs of a Hydra launcher do.
    """
    environment = surroundings(directory / "one")
    command = [SWEEPFLOW, "llc", f"store={directory / 'one' / 'store'}", *JOBS]
    cold, warm = seconds(command, environment), seconds(command, environment)
    apart = 0.0
    axes = [[(key, value) for value in values.split(",")] for key, values in (j.split("=") for j in JOBS)]
    for number, job in enumerate(itertools.product(*axes)):
        own = directory / f"job{number}"
        apart += seconds(
            [SWEEPFLOW, "llc", f"store={own / 'store'}", *(f"{k}={v}" for k, v in job)],
            surroundings(own, JAX_ENABLE_COMPILATION_CACHE="false"),
        )
    return [
        ("1 sweep of 12 jobs, cold", f"{cold:.1f} s"),
        ("12 processes of one job, cold, one after the other", f"{apart:.1f} s"),
        ("  ratio, cold (wanted: at least 5)", f"{apart / cold:.1f}"),
        ("1 sweep of 12 jobs, all in the store", f"{warm:.1f} s"),
        ("  ratio to the 12 cold processes (wanted: at least 20)", f"{apart / warm:.1f}"),
    ]


def compilations(directory: Path) -> list[tuple[str, str]]:
    """Count compilations of the 12-job sweep, and time it with a cold and a warm compilation cache."""
    environment = surroundings(directory / "compile")
    results = []
    for turn in ("cold", "warm"):
        command = [sys.executable, "-c", COUNT, f"store={directory / turn}", *JOBS]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        results.append(json.loads(output.stdout.splitlines()[-1]))
    cold, warm = results
    return [
        ("compilations of the 12-job sweep: 2 groups of targets, 6 of estimates", str(cold["compilations"])),
        ("its wall time, compilation cache cold", f"{cold['seconds']:.1f} s"),
        ("its wall time, compilation cache warm, store empty", f"{warm['seconds']:.1f} s"),
    ]
