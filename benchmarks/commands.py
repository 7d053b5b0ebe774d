"""Whole command lines, timed from outside, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

SWEEPFLOW = str(Path(sys.executable).with_name("sweepflow"))
JOBS = ("model=small,base", "target.seed=1,2", "sampler=sgld,hmc,mclmc")
"""The sweep of the README: 4 targets, 12 estimates."""


def surroundings(directory: Path, **more: str) -> dict[str, str]:
    """Return an environment whose caches and Prefect database are new and in `directory`."""
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(directory / "cache"),
        "PREFECT_HOME": str(directory / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **more,
    }


def seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """Return the wall time of one command; the command must succeed."""
    started = time.perf_counter()
    subprocess.run(arguments, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - started
