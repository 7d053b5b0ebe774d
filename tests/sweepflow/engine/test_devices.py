"""Settings that only work before JAX has started its devices."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENTRANCES = (
    "flows.prepare",
    "sweepflow.engine.run",
    "sweepflow.llc.plan",
    "sweepflow.samplers",
    "sweepflow.targets.workload",
)


def output(code: str, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_does_not_start_the_devices() -> None:
    """Otherwise a flow would run on one device, and round in another way than the tests."""
    code = "".join(f"import {name}\n" for name in ENTRANCES) + (
        "import jax._src.xla_bridge\n"
        "print(jax._src.xla_bridge.backends_are_initialized())\n"
        "from sweepflow.engine.devices import configure\n"
        "configure()\n"
        "import jax\n"
        "print(jax.local_device_count(), jax.numpy.ones(1).dtype)\n"
    )
    assert output(code) == ["False", str(max(2, len(os.sched_getaffinity(0)))), "float64"]


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ("", None),
        ("--xla_force_host_platform_device_count=5", 5),
        ("--xla_cpu_multi_thread_eigen=true", None),
    ],
)
def test_flags_of_the_user_win(given: str, devices: int | None) -> None:
    code = (
        "import os\n"
        "from sweepflow.engine.devices import configure\n"
        "configure()\n"
        "configure()\n"
        "import jax\n"
        "print(jax.local_device_count())\n"
        "print(os.environ['XLA_FLAGS'])\n"
    )
    count, *flags = output(code, XLA_FLAGS=given)
    assert int(count) == (devices or max(2, len(os.sched_getaffinity(0))))
    names = [flag.split("=")[0] for flag in flags]
    assert sorted(set(names)) == sorted(names), "a flag is given twice"
    assert not given or given in flags


def test_one_core_has_two_devices() -> None:
    code = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from sweepflow.engine.devices import configure\n"
        "configure()\n"
        "import jax\n"
        "print(jax.local_device_count())\n"
    )
    assert output(code) == ["2"]
