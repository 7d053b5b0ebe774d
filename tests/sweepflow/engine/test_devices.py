"""Settings that only work before JAX has started its devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweepflow.engine.devices import gpus, worker_environment

ENTRANCES = (
    "sweepflow.estimates.prepare",
    "sweepflow.engine.run",
    "sweepflow.estimates.plan",
    "sweepflow.samplers",
    "sweepflow.targets.workload",
)

LEFT_OUT = ("XLA_FLAGS", "SWEEPFLOW_GIVEN_XLA_FLAGS")
"""What this process has set for itself."""


def output(code: str, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
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


def test_a_worker_beside_others_has_one_core() -> None:
    code = (
        "from sweepflow.engine.devices import configure, cores\n"
        "configure()\n"
        "import jax\n"
        "print(cores(), jax.local_device_count())\n"
    )
    assert output(code, SWEEPFLOW_CORES="1") == ["1", "2"]
    assert output(code, SWEEPFLOW_CORES="5") == ["5", "5"]


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
def test_workers_share_out_the_accelerators_that_there_are(name: str) -> None:
    listed = {name: "2,GPU-8f1b, 7"}
    shared = [worker_environment(number, 3, listed) for number in range(3)]
    assert [own[name] for own in shared] == ["2", "GPU-8f1b", "7"]
    assert all("XLA_PYTHON_CLIENT_PREALLOCATE" not in own for own in shared)


def test_amd_devices_are_not_picked_twice() -> None:
    """HIP counts within what the driver lets through, and SLURM sets every maker's variables."""
    own = worker_environment(1, 2, {"CUDA_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "0,1"})
    assert (own["CUDA_VISIBLE_DEVICES"], own["ROCR_VISIBLE_DEVICES"]) == ("1", "0,1")


def test_workers_on_one_accelerator_leave_memory_to_each_other() -> None:
    shared = [worker_environment(number, 4, {"CUDA_VISIBLE_DEVICES": "0,1"}) for number in range(4)]
    assert [own["CUDA_VISIBLE_DEVICES"] for own in shared] == ["0", "1", "0", "1"]
    assert {own["XLA_PYTHON_CLIENT_PREALLOCATE"] for own in shared} == {"false"}
    given = worker_environment(0, 4, {"CUDA_VISIBLE_DEVICES": "0", "XLA_PYTHON_CLIENT_PREALLOCATE": "true"})
    assert given["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


@pytest.mark.parametrize("nothing", [{}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_workers_without_accelerators_are_left_without(nothing: dict[str, str]) -> None:
    own = worker_environment(1, 2, nothing)
    assert own.get("CUDA_VISIBLE_DEVICES") == nothing.get("CUDA_VISIBLE_DEVICES")
    assert {
        own[n] for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "SWEEPFLOW_CORES")
    } == {"1"}


def test_a_worker_gets_the_flags_of_the_user_and_not_those_of_the_process_that_starts_it() -> None:
    code = (
        "import os\n"
        "from sweepflow.engine.devices import configure, worker_environment\n"
        "configure()\n"
        "print(worker_environment(0, 1, os.environ).get('XLA_FLAGS'))\n"
        "again = worker_environment(0, 1, worker_environment(0, 1, os.environ))\n"
        "print(again.get('XLA_FLAGS'), 'SWEEPFLOW_GIVEN_XLA_FLAGS' in again)\n"
    )
    assert output(code, XLA_FLAGS="--xla_a=1") == ["--xla_a=1", "--xla_a=1", "False"]
    assert output(code) == ["None", "None", "False"]


def test_the_environment_of_a_worker_is_a_copy() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/home/ada", "XLA_FLAGS": "--xla_a=1"}
    own = worker_environment(1, 2, given)
    assert given == {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/home/ada", "XLA_FLAGS": "--xla_a=1"}
    assert own["HOME"] == "/home/ada" and own["XLA_FLAGS"] == "--xla_a=1"


def test_gpus_are_counted_without_starting_them() -> None:
    assert gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-8f1b,"}) == ["3", "GPU-8f1b"]
    assert gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert gpus({"JAX_PLATFORMS": "cpu"}) == []
    listed = sorted(Path("/dev").glob("nvidia[0-9]*"))
    assert gpus({}) == [str(number) for number in range(len(listed))]
