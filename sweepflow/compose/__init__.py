"""From Hydra groups and overrides to validated configurations."""

from __future__ import annotations

from sweepflow.compose.expand import compose_llc

__all__ = ["compose_llc"]
