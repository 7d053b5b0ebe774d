"""Probe that examines a compute node from that node, before any work is sent to it.

As a preload of Dask's worker (`--preload sweepflow.flows.runners.probe`) it ends a worker that could only do
harm: another Python or other packages, another store, no Prefect server. As a program it writes all its
findings:

    python -m sweepflow.flows.runners.probe FINDINGS.json
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweepflow.engine.devices import configure, worker_environment
from sweepflow.errors import SweepflowError
from sweepflow.flows.runners.check import Check
from sweepflow.flows.runners.jobs import REFUSED
from sweepflow.flows.server.faults import find_fault
from sweepflow.stop import stop_at_signals, stop_for_good
from sweepflow.storage.atomic import write_bytes
from sweepflow.storage.store import Store

REFUSAL = "sweepflow: this worker takes no work"
"""Beginning of the reason in a job's log."""
EXPECT = "SWEEPFLOW_EXPECT"
"""Environment variable with the driver's expectations of a worker, as JSON."""
STORE_ROOT = "SWEEPFLOW_STORE_ROOT"
TOKEN = ".token"
"""File of the store that contains a unique word: two directories with the same word are the same store."""
PATIENCE_SECONDS = 30.0
"""Time that the store's token and Prefect's server may take to appear: file servers report a new file late,
and a server that starts again is away for a while."""
PASSED_ON = re.compile(r"PREFECT_API_URL|JAX_COMPILATION_CACHE_DIR|SWEEPFLOW_\w+")
PACKAGES = re.compile(r"/(site|dist)-packages(/|$)")
"""Directories from which Python imports installed packages."""
COMPARED = (
    *("sweepflow", "jax", "jaxlib", "numpy", "optax", "equinox", "blackjax"),
    *("prefect", "dask", "distributed", "cloudpickle", "pydantic"),
)
"""Distributions that affect the results, or the messages between driver and workers."""


def what_is_here(*, devices: bool = False) -> dict[str, Any]:
    """Return the host, its Python, and the versions of the compared distributions.

    Args:
        devices: Whether to start JAX, to see its devices; that takes seconds, and memory of a GPU.
    """
    here: dict[str, Any] = {
        "host": platform.node(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": {name: _version(name) for name in COMPARED},
    }
    if devices:
        here["devices"] = _devices()
    return here


def expectations(store: Store) -> dict[str, str]:
    """Return the variables of the workers' environment: values that the probe compares, and locations.

    They contain no secret. SLURM passes on the rest of the environment by itself, unless it is told not to
    (`SBATCH_EXPORT=NONE`). This function also writes the store's token.

    Raises:
        StoreError: if the store cannot be written.
    """
    here, url = what_is_here(), api_url()
    expected = {key: here[key] for key in ("python", "versions", "host")}
    expected |= {"token": store_token(store.root), "server": url is not None}
    expected["path"] = own_path()
    return {
        **{name: value for name, value in sorted(os.environ.items()) if PASSED_ON.fullmatch(name)},
        **({} if url is None else {"PREFECT_API_URL": url}),
        EXPECT: json.dumps(expected),
        STORE_ROOT: str(store.root.absolute()),
    }


def api_url() -> str | None:
    """Prefect's API as this process would use it: PREFECT_API_URL, or the profile's."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def store_token(store: Path) -> str:
    """Return the word in the store's token file. The file is made if it does not exist.

    Raises:
        StoreError: if the store cannot be written.
    """
    path = store / TOKEN
    if (token := _read(path)) is None:
        write_bytes(path, secrets.token_hex(16).encode())
        token = _read(path)  # another driver's, where two write at once
    return token or ""


def differences(driver: Mapping[str, Any], worker: Mapping[str, Any]) -> list[str]:
    """Return the differences between the Python and packages of a worker and of the driver, in words.

    Args:
        driver: Result of `what_is_here` on the driver.
        worker: The same for a worker.
    """
    found = []
    if driver["python"].split(".")[:2] != worker["python"].split(".")[:2]:
        found.append(f"Python is {worker['python']} there and {driver['python']} here")
    for name, version in driver["versions"].items():
        there = worker["versions"].get(name)
        if there != version:
            found.append(f"{name} is {there or 'missing'} there and {version or 'missing'} here")
    return found


def checks(environ: Mapping[str, str], patience: float = PATIENCE_SECONDS) -> list[Check]:
    """Check whether a worker with this environment may take work; empty if nothing is expected of it.

    Args:
        environ: Environment, as `expectations` has filled it.
        patience: Seconds that the store's token and Prefect's server may take to appear.
    """
    if EXPECT not in environ:
        return []
    expected = json.loads(environ[EXPECT])
    found = [_same_software(expected), _same_store(Path(environ[STORE_ROOT]), expected["token"], patience)]
    return [*found, _reachable(environ.get("PREFECT_API_URL"), patience)] if expected["server"] else found


def dask_setup(worker: Any) -> None:
    """End this process if a check fails. Dask calls this in a worker before it reports to the scheduler."""
    see_what_the_driver_sees(os.environ)
    failed = [check for check in checks(os.environ) if not check.ok]
    if failed:
        text = "\n".join([f"{REFUSAL} ({platform.node()})", *(check.text for check in failed)])
        # In one piece, as workers beside this one write to the same log; and at once, as Dask would only
        # note an exception and go on.
        os.write(2, f"{text}\n\n".encode())
        os._exit(REFUSED)
    if threading.current_thread() is threading.main_thread():
        stop_at_signals()


def dask_teardown(worker: Any) -> None:
    """Stop the worker's batch. Dask calls this as a worker closes, for example at the end of its lifetime."""
    stop_for_good()


def own_path() -> tuple[list[str], list[str]]:
    """Return the directories of the user's modules: those before Python's directories, and those after them.

    Directories that belong to this process's Python are left out, as a worker may have another Python.
    """
    found = [os.path.abspath(entry) for entry in sys.path]
    library = os.path.abspath(os.path.dirname(os.__file__))
    # Not all of its prefix: that of a system's Python is /usr, where programs of the user's may lie, too.
    prefixes = (sys.prefix, sys.base_prefix)
    of_python = [os.path.join(prefix, name) for prefix in prefixes for name in ("bin", "lib", "lib64")]
    first = found.index(library) if library in found else 0
    own = [
        not PACKAGES.search(path) and not any(Path(path).is_relative_to(root) for root in of_python)
        for path in found
    ]
    return (
        [path for path, mine in zip(found[:first], own, strict=False) if mine],
        [path for path, mine in zip(found[first:], own[first:], strict=True) if mine],
    )


def see_what_the_driver_sees(environ: Mapping[str, str]) -> None:
    """Make the user's modules importable here as in the driver; sweepflow's own are imported already."""
    before, after = json.loads(environ[EXPECT])["path"] if EXPECT in environ else ([], [])
    sys.path[:] = dict.fromkeys([*before, *sys.path, *after])


def last_words(log: Path, lines: int = 12) -> str:
    """Return the reason why a job ended, from its log: the probe's refusal, or else the last lines.

    Args:
        log: The job's output.
        lines: Number of lines, if there is no refusal.
    """
    try:
        text = log.read_text(errors="replace")
    except OSError as error:
        return f"its log cannot be read: {log}: {error.strerror}"
    _, refused, reason = text.rpartition(REFUSAL)
    if refused:
        # Up to the empty line behind it: other workers and SLURM write to the same log.
        return REFUSAL + reason.partition("\n\n")[0].rstrip()
    written = [line for line in text.splitlines() if line.strip()]
    return "\n".join(written[-lines:]) or f"it has written nothing to {log}"


def _same_software(expected: Mapping[str, Any]) -> Check:
    here = what_is_here()
    if found := differences(expected, here):
        return Check(
            "versions",
            False,
            "its software is not that of the process that sends it work",
            got=f"{'; '.join(found)}; {sys.executable} on {here['host']}",
            allowed=f"what {expected.get('host', 'the driver')} has, since results and pickles depend on it",
            remedy="install the same there, or give the right one with runner.python=PATH or runner.prologue",
        )
    return Check("versions", True, f"the same there: Python {here['python']}, jax {here['versions']['jax']}")


def _same_store(root: Path, token: str, patience: float) -> Check:
    deadline = time.monotonic() + patience
    while (found := _read(root / TOKEN)) is None and time.monotonic() < deadline:
        try:
            os.listdir(root)  # makes a file server's client look again
        except OSError:
            break  # no directory: that does not come by waiting
        time.sleep(0.5)
    remedy = "give a directory that compute nodes see under the same path: store=DIR"
    if found != token:
        seen = "another store is there" if found else f"{root} is {'empty' if root.is_dir() else 'not there'}"
        return Check(
            "store",
            False,
            "the store is not the one that the sweep was started with",
            got=f"{seen}, on {platform.node()}",
            allowed=f"{root}, on a file system that all machines share",
            remedy=remedy,
        )
    try:
        probe = root / f".writable-{platform.node()}-{os.getpid()}"
        write_bytes(probe, b"")
        probe.unlink(missing_ok=True)
    except (SweepflowError, OSError) as error:
        got = error.got if isinstance(error, SweepflowError) else error
        return Check(
            "store",
            False,
            "the store cannot be written",
            got=f"{got}, on {platform.node()}",
            remedy=f"mend the permissions or free space there, or {remedy}",
        )
    return Check("store", True, f"{root} is seen and written there")


def _reachable(url: str | None, patience: float) -> Check:
    deadline = time.monotonic() + patience
    if url is None:
        return _unreachable("no PREFECT_API_URL")
    while (fault := find_fault(url)) is not None and fault.passes and time.monotonic() < deadline:
        time.sleep(1)
    if fault is None:
        return Check("server", True, f"{url} answers there")
    if fault.passes:
        return _unreachable(fault.got)
    got = f"{fault.got}, on {platform.node()}"
    return Check("server", False, fault.what, got=got, allowed=fault.allowed, remedy=fault.do)


def _unreachable(got: str) -> Check:
    return Check(
        "server",
        False,
        "Prefect's server cannot be reached",
        got=f"{got}, on {platform.node()}",
        allowed="an address that answers on compute nodes",
        remedy="start it with: prefect server start --host 0.0.0.0, and export "
        "PREFECT_API_URL=http://HOST:4200/api with the name by which nodes know that host",
    )


def _devices() -> dict[str, Any]:
    """Return JAX's devices as a worker of this job sees them, and the devices that the workers share."""
    workers = int(os.environ.get("SWEEPFLOW_PROCESSES", "1"))
    listed = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    worker = worker_environment(0, workers, os.environ)
    for name in os.environ.keys() - worker.keys():
        del os.environ[name]
    os.environ.update(worker)
    configure()
    import jax

    try:
        found = [str(device.device_kind) for device in jax.local_devices()]
    except RuntimeError as error:  # a GPU that does not work
        return {"listed": listed, "workers": workers, "error": str(error).splitlines()[0]}
    return {"listed": listed, "workers": workers, "platform": jax.default_backend(), "kinds": found}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def main(findings: Path) -> None:
    """Write the state of this node and the checks for the driver, and a copy of them into the store."""
    answered = checks(os.environ, patience=5.0)  # somebody waits
    found = {**what_is_here(devices=True), "checks": [asdict(check) for check in answered]}
    content = json.dumps(found, indent=1).encode()
    if any(check.name == "store" and check.ok for check in answered):
        write_bytes(copy_in(Path(os.environ[STORE_ROOT]), findings), content)
    write_bytes(findings, content)


def copy_in(store: Path, findings: Path) -> Path:
    """Return the path of the copy, which shows that the driver sees what a node writes to the store."""
    return store / f".{findings.name}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
