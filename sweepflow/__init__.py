"""Parameter sweeps of JAX programs as Prefect flows.

    from sweepflow import llc

    sweep = llc(["model=small,base", "sampler=sgld,hmc", "data=diabetes"])

A workload of your own starts from `Config` and its markers.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from sweepflow.schema.fields import Config, Content, Location, Traced

if TYPE_CHECKING:
    from sweepflow.flows.as_hydra import hydra_multirun, hydra_run, launch
    from sweepflow.flows.function import multirun, run
    from sweepflow.flows.llc import llc
    from sweepflow.flows.sweep import sweep
    from sweepflow.jobs.source import store

__all__ = [
    "Config",
    "Content",
    "Location",
    "Traced",
    "hydra_multirun",
    "hydra_run",
    "launch",
    "llc",
    "multirun",
    "run",
    "store",
    "sweep",
]

_MODULES = {
    "hydra_multirun": "sweepflow.flows.as_hydra",
    "hydra_run": "sweepflow.flows.as_hydra",
    "launch": "sweepflow.flows.as_hydra",
    "llc": "sweepflow.flows.llc",
    "multirun": "sweepflow.flows.function",
    "run": "sweepflow.flows.function",
    "store": "sweepflow.jobs.source",
    "sweep": "sweepflow.flows.sweep",
}


def __getattr__(name: str) -> Any:
    """Import a flow when it is asked for.

    Importing Prefect takes seconds, and `sweepflow --help` does not need it.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # As the command does: neither a server that sweepflow starts nor its client tells anybody that it runs.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # Prefect gives its temporary server 20 s, and a first start on a busy machine takes longer.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
