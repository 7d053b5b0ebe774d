"""The origin of a record: host, device, software versions and time."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from functools import cache

VERSIONED = ("jax", "jaxlib", "numpy", "scipy", "optax", "equinox", "blackjax", "arviz-stats")
"""Python distributions (packages) whose code decides results."""


def provenance(*, device: bool = True) -> dict[str, object]:
    """Return host, device, versions, and the current time (UTC, ISO 8601).

    Args:
        device: Whether to include JAX's device. Asking for it starts JAX's backend, which takes memory of an
            accelerator that another process may need. The device is also left out if JAX has not been
            imported.
    """
    used = {"device": _device()} if device and "jax" in sys.modules else {}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), **used, **_software(), "written": now}


@cache
def _software() -> dict[str, object]:
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    try:
        versions["sweepflow"] = importlib.metadata.version("sweepflow")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        versions["sweepflow"] = "unknown"
    return {"python": ".".join(map(str, sys.version_info[:3])), "versions": versions}


@cache
def _device() -> str:
    import jax

    return f"{jax.local_devices()[0].device_kind} x{jax.local_device_count()}"
