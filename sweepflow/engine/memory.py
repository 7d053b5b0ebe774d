"""The share of the free memory that a call of a program takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import psutil

from sweepflow.engine.program import Program


def allowance(program: Program) -> float:
    """Return the part of a batch's share of the memory that a program may take.

    Batches on other devices run at the same time, and CPU devices share one memory.
    """
    devices = program.sharded.mesh.devices
    return devices.size / jax.local_device_count() if devices.flat[0].platform == "cpu" else 1.0


def memory_share(program: Program) -> float:
    """Return the share of the free memory that one call of a program takes, for the memory that is
    scarcest."""
    statistics = [device.memory_stats() for device in program.sharded.mesh.devices.flat]
    return share_taken(program.bytes_each, statistics, int(psutil.virtual_memory().available))


def share_taken(
    bytes_each: int, statistics: Sequence[Mapping[str, int] | None], host_available: int
) -> float:
    """Return the largest share of free memory that is taken; accelerators and the host are counted
    separately.

    Args:
        bytes_each: Bytes that a call takes on each device.
        statistics: Memory statistics of each device, as JAX gives them. An accelerator has its own memory and
            reports `bytes_limit` and `bytes_in_use`. Devices that do not report them are CPUs, which share
            the host's memory.
        host_available: Free bytes of the host.

    Returns:
        The share: above 1 if the call does not fit, infinite if no memory is free.
    """
    own = [s["bytes_limit"] - s.get("bytes_in_use", 0) for s in statistics if s and "bytes_limit" in s]
    on_host = len(statistics) - len(own)
    takes = [(bytes_each, free) for free in own] + [(bytes_each * on_host, host_available)] * bool(on_host)
    return max(needed / free if free > 0 else math.inf for needed, free in takes)
