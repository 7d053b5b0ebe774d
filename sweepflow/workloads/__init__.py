"""Workloads that a sweep can train or run, one per module; a user's own is a module of the same form."""

from __future__ import annotations

from sweepflow.workloads.load import load_workload
from sweepflow.workloads.workload import SweepWorkload

__all__ = ["SweepWorkload", "load_workload"]
