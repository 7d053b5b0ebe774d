"""Where and with what a record was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from functools import cache


@cache
def _fixed() -> dict[str, object]:
    import jax

    device = jax.local_devices()[0]
    versions = {
        name: importlib.metadata.version(name)
        for name in ("jax", "jaxlib", "numpy", "optax", "equinox", "blackjax")
    }
    try:
        versions["sweepflow"] = importlib.metadata.version("sweepflow")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        versions["sweepflow"] = "unknown"
    return {
        "host": platform.node(),
        "device": f"{device.device_kind} x{jax.local_device_count()}",
        "python": ".".join(map(str, sys.version_info[:3])),
        "versions": versions,
    }


def provenance() -> dict[str, object]:
    """Host, device, versions, and the time now (UTC, ISO 8601)."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {**_fixed(), "written": now}
