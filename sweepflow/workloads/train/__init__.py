"""Training of a network on real data, by epochs: `workload=digits_mlp` and similar workloads."""

from __future__ import annotations

from sweepflow.workloads.train.workload import TRAIN as WORKLOAD

__all__ = ["WORKLOAD"]
