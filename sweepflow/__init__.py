"""The science and the engine of sweepflow: pure Python and JAX; no Prefect, no Dask, no W&B.

A workload of your own starts from `Config` and its markers (docs/workloads.md).
"""

from __future__ import annotations

from sweepflow.schema.fields import Config, Content, Location, Traced

__all__ = ["Config", "Content", "Location", "Traced"]
