"""From Hydra groups and overrides to validated configurations."""

from __future__ import annotations

from sweepflow.compose.llc import compose_llc
from sweepflow.compose.trials import compose_trials

__all__ = ["compose_llc", "compose_trials"]
