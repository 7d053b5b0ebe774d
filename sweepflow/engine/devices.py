"""The one place that decides threads, devices and JAX's process-wide settings.

Small programs run best with one single-threaded device for each core: XLA's own threads spend more time on
coordination than they save on matrices of this size. So each CPU core becomes a JAX device, and the engine
spreads the lanes of a batch over these devices. An accelerator is used as it is.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from sweepflow.schema.runner import DaskRunner, RunnerConfig, SlurmRunner

MAX_CPU_DEVICES = 64
GIVEN_FLAGS = "SWEEPFLOW_GIVEN_XLA_FLAGS"
"""Variable that keeps the XLA_FLAGS that the user gave: programs that a sweep starts get these, not ours."""
CORES = "SWEEPFLOW_CORES"
"""Variable for the number of cores that a process may use, if that is fewer than it sees: one, for a worker
that runs beside others."""
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GPU_LISTS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""Variables that list the accelerators that a process sees, by number or by id, separated by commas."""
AMD_DRIVERS_LIST = "ROCR_VISIBLE_DEVICES"
"""Variable for the devices that AMD's driver lets through; the lists above then count within these
devices."""


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if given := os.environ.get(CORES):
        return max(1, int(given))
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def configure() -> None:
    """Set XLA's flags and JAX's settings; call before the first JAX operation of the process.

    Flags that the user has set in XLA_FLAGS win. If JAX has already started its backend, the flags have no
    effect, and the engine uses the existing devices.
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


def worker_environment(number: int, of: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of one of several worker processes that share a machine or a job.

    Each worker has one core and, if there are accelerators, one of them. The environment must be set before
    the worker imports JAX or NumPy.

    Args:
        number: Number of the worker, from 0.
        of: Number of workers that share the machine or job.
        environ: The environment that the workers would inherit. The worker's number selects an entry of its
            lists of accelerators.

    Returns:
        The whole environment, with XLA_FLAGS as the user gave them: those of this process are for its own
        cores.
    """
    own = dict(environ)
    given = own.pop(GIVEN_FLAGS, own.get("XLA_FLAGS", ""))
    own.pop("XLA_FLAGS", None)
    if given:
        own["XLA_FLAGS"] = given
    own[CORES] = "1"
    own |= dict.fromkeys(BLAS_THREADS, "1")
    # SLURM sets all of them for any maker's: on AMD's, to pick twice would be to pick from a list of one.
    for name in [name for name in GPU_LISTS if environ.get(name)] or [AMD_DRIVERS_LIST]:
        if seen := _listed(environ.get(name, "")):
            own[name] = seen[number % len(seen)]
            if of > len(seen):
                # Several on one: the first may not take three quarters of its memory for itself.
                own.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return own


def _listed(devices: str) -> list[str]:
    return [device.strip() for device in devices.split(",") if device.strip()]


def gpus(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without starting JAX."""
    if environ.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
        return []
    listed = environ.get(GPU_LISTS[0])
    if listed is not None:
        return _listed(listed)
    found = [path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    return [str(number) for number in range(len(found))]


def worker_count(runner: RunnerConfig) -> int:
    """Return the number of worker processes that share the batches; 1 if the batches run in this process."""
    match runner:
        case DaskRunner():
            return (len(gpus()) or cores()) if runner.workers == "auto" else runner.workers
        case SlurmRunner():
            return runner.most_jobs * runner.workers_each
        case _:
            return 1


def compilation_cache_directory() -> Path:
    """Return the directory of the compiled programs: one for each kind of machine, since code is built for
    it."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    kind = f"{platform.system()}-{platform.machine()}-{_cpu_features()}".lower()
    return Path(root) / "sweepflow" / "xla" / kind


def _cpu_features() -> str:
    """Return a short digest of the processor's feature flags: compiled code may not run without them."""
    import hashlib

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = platform.processor()
    return hashlib.sha256(flags.encode()).hexdigest()[:8]
