"""Prefect flows: what a user runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.llc_sweep import llc

__all__ = ["llc"]


def __getattr__(name: str) -> Any:
    """Import a flow when it is asked for: Prefect takes seconds that `sweepflow --help` need not."""
    if name == "llc":
        # As the command does: no server that sweepflow starts tells anybody that it runs.
        os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        from flows.llc_sweep import llc

        return llc
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
