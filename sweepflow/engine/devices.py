"""The one place that decides threads, devices and JAX's process-wide settings.

Small programs want one single-threaded device a core: XLA's own threads spend more on coordination than
they save on matrices of this size. So each CPU core becomes a JAX device and the engine spreads the
lanes of a batch over them; an accelerator is used as it is.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

MAX_CPU_DEVICES = 64
GIVEN_FLAGS = "SWEEPFLOW_GIVEN_XLA_FLAGS"
"""Remembers the XLA_FLAGS that the user gave: programs that a sweep starts get these, not ours."""


def cores() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def configure() -> None:
    """Set XLA's flags and JAX's settings; call before the first JAX operation of the process.

    Flags that the user has set in XLA_FLAGS win. Where JAX has already started its backend, the flags
    have no effect and the engine uses the devices that there are.
    """
    given = os.environ.get("XLA_FLAGS", "")
    os.environ.setdefault(GIVEN_FLAGS, given)
    wanted = {
        "--xla_cpu_multi_thread_eigen": "false",
        # At least two, so that programs are compiled alike on every machine (see `program.layout`).
        "--xla_force_host_platform_device_count": max(2, min(cores(), MAX_CPU_DEVICES)),
    }
    missing = [f"{name}={value}" for name, value in wanted.items() if name not in given]
    if missing:
        os.environ["XLA_FLAGS"] = " ".join([given, *missing]).strip()

    import jax

    jax.config.update("jax_enable_x64", True)
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(compilation_cache_directory()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def compilation_cache_directory() -> Path:
    """Where compiled programs are kept: one directory a machine kind, since code is built for it."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    kind = f"{platform.system()}-{platform.machine()}-{_cpu_features()}".lower()
    return Path(root) / "sweepflow" / "xla" / kind


def _cpu_features() -> str:
    """A short digest of the processor's feature flags: compiled code may not run without them."""
    import hashlib

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = platform.processor()
    return hashlib.sha256(flags.encode()).hexdigest()[:8]
