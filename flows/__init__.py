"""Prefect flows: what a user runs."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Before modules are imported from a directory of the user's, who may have a tasks.py.
import tasks  # noqa: F401

if TYPE_CHECKING:
    from flows.hydra_names import hydra_multirun, hydra_run, launch
    from flows.jobs_sweep import multirun, run
    from flows.llc_sweep import llc
    from flows.trials_sweep import sweep
    from sweepflow.jobs.source import store

__all__ = ["hydra_multirun", "hydra_run", "launch", "llc", "multirun", "run", "store", "sweep"]

_MODULES = {
    "hydra_multirun": "flows.hydra_names",
    "hydra_run": "flows.hydra_names",
    "launch": "flows.hydra_names",
    "llc": "flows.llc_sweep",
    "multirun": "flows.jobs_sweep",
    "run": "flows.jobs_sweep",
    "store": "sweepflow.jobs.source",
    "sweep": "flows.trials_sweep",
}


def __getattr__(name: str) -> Any:
    """Import a flow when it is asked for: Prefect takes seconds that `sweepflow --help` need not."""
    if name in _MODULES:
        # As the command does: no server that sweepflow starts tells anybody that it runs.
        os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        # Prefect gives its temporary server 20 s, which a first start on a busy machine takes.
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
