"""Jobs of a trivial function in one process: bare, by `multirun`, and by Hydra's basic launcher.

python -m benchmarks.jobs STORE     (in a process and a directory of its own)
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.commands import surroundings

JOBS = 1000


def square(cfg: Any) -> Any:
    """The function that the jobs call."""
    return cfg.x**2


def against_hydra(directory: Path) -> list[tuple[str, str]]:
    """Measure the milliseconds per job, without the start of Prefect."""
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.jobs", str(directory / "store")]
    environment = {**surroundings(directory), "PYTHONPATH": os.getcwd()}
    output = subprocess.run(
        command, env=environment, cwd=directory, check=True, capture_output=True, text=True
    )
    each = json.loads(output.stdout.splitlines()[-1])
    own = each["multirun"] - each["bare"]
    return [
        (
            f"{JOBS} trivial jobs by multirun, over the bare call, median of 5 (wanted: 2 ms)",
            f"{own:.2f} ms",
        ),
        ("the same by Hydra's basic launcher", f"{each['hydra'] - each['bare']:.2f} ms"),
    ]


def _measure(store: str) -> dict[str, float]:
    from hydra_zen import launch
    from omegaconf import OmegaConf

    from sweepflow import multirun

    def timed(run: Any) -> float:
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            run()
        return (time.perf_counter() - started) / JOBS * 1000

    config, overrides = {"x": 1}, [f"x=range(0,{JOBS})"]
    multirun(config, square, overrides=["x=1,2"], store=store)  # starts the server
    trees = [OmegaConf.create({"x": x}) for x in range(JOBS)]
    return {
        "bare": timed(lambda: [square(tree) for tree in trees]),
        # The middle one: now and then Prefect's server, on the same cores, has work of its own for seconds.
        "multirun": median(
            timed(lambda: multirun(config, square, overrides=overrides, store=store)) for _ in range(5)
        ),
        "hydra": timed(
            lambda: launch(config, square, overrides=overrides, multirun=True, version_base="1.3")
        ),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
