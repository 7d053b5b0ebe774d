"""From Hydra groups and overrides to validated configurations."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepflow.compose.llc import compose_llc
    from sweepflow.compose.trials import compose_trials

__all__ = ["compose_llc", "compose_trials"]

_MODULES = {"compose_llc": "sweepflow.compose.llc", "compose_trials": "sweepflow.compose.trials"}


def __getattr__(name: str) -> Any:
    """Import a name only when it is requested: workloads import JAX, and `place` works without JAX."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
