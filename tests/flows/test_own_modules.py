"""A working directory in which a researcher has modules with the names of ours."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweepflow.flows.runners import probe
from sweepflow.storage.store import Store
from tests.prefect_server import BIN, ROOT, Machine
from tests.slurm.cluster import Cluster
from tests.slurm.processes import PATIENCE

OURS = ("flows", "tasks", "store", "sweepflow_launcher")
WORKLOAD = """
import jax.numpy as jnp
from sweepflow import Config, Traced

class Config(Config):
    x: Traced[float] = 0.0

def run(config, inputs, key):
    return {"loss": jnp.square(config.x)}
"""
COMPILES = """
import sys, threading, time
import jax, jax.numpy as jnp
from sweepflow.flows.cli import main
from sweepflow.flows.server.embedded import MEANWHILE

def long(x):
    for i in range(1500):
        x = jnp.sin(x) * i + jnp.roll(x, i)
    return x

lowered = jax.jit(long).lower(jnp.zeros(64))
threading.Thread(target=lowered.compile, name=MEANWHILE, daemon=True).start()
time.sleep(0.5)
sys.argv = ["sweepflow", "show", "nothing", "--store", sys.argv[1]]
main()
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A directory with a workload and with modules that are not meant for us."""
    directory = tmp_path / "a researcher's own"
    for folder in ("flows", "conf", "data"):
        (directory / folder).mkdir(parents=True)
        (directory / folder / "__init__.py").write_text(f"raise RuntimeError('the {folder} of somebody')")
    for name in OURS:
        (directory / f"{name}.py").write_text(f"raise RuntimeError('{name}.py of somebody')")
    (directory / "curve.py").write_text(WORKLOAD)
    return directory


def test_every_python_that_is_started_is_kept_from_the_working_directory() -> None:
    """A child that is to import what lies there is told so by its parent."""
    started = 0
    for folder in ("sweepflow", "tasks", "flows"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                words = [ast.unparse(word) for word in getattr(node, "elts", [])]
                if "sys.executable" in words:
                    started += 1
                    assert words[words.index("sys.executable") + 1] == "'-P'", f"{file}:{node.lineno}"
    assert started >= 4


def test_a_worker_imports_the_users_modules_from_where_the_driver_does(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = str(Path(json.__file__).parent.parent)
    monkeypatch.setattr(sys, "path", ["/mine", f"{sys.prefix}/bin", library, f"{sys.prefix}/lib", "/too"])
    environment = probe.expectations(store)
    monkeypatch.setattr(sys, "path", ["/other/python", "/mine"])
    probe.see_what_the_driver_sees(environment)
    assert sys.path == ["/mine", "/other/python", "/too"]


def test_an_error_while_something_is_compiled_aborts_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMPILES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr and "terminate" not in done.stderr


@pytest.mark.server
@pytest.mark.slow
def test_commands_run_there(own: Path, machine: Machine, office: Machine) -> None:
    alone, served = Machine(own, machine.environment), Machine(own, office.environment, logs=office.directory)
    sweep = ["sweepflow", "sweep", "workload=curve", "store=found"]
    # With nowhere to say anything, either: the server of its own has its standard streams from the command.
    closed = ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", BIN / sweep[0], *sweep[1:]]
    assert alone.run(*closed, "x=0.1,0.2")[0] == 0
    code, text = served.run(*sweep, "x=0.3,0.4", "runner=dask", "runner.workers=1")
    assert code == 0, text
    assert len(list(Store(own / "found").records("trl"))) == 4
    for command in ("runs", "doctor"):
        code, text = served.run("sweepflow", command, "--store", "found")
        assert code == 0 and "of somebody" not in text, text


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.slurm
def test_slurm_jobs_run_there(own: Path, office: Machine, slurm: Cluster) -> None:
    here = Machine(own, {**office.environment, **slurm.environment}, logs=office.directory)
    on_slurm = ["runner=slurm", "runner.interface=lo", "runner.memory=256MB"]
    code, text = here.run("sweepflow", "sweep", "workload=curve", "x=0.1,0.2", "store=found", *on_slurm)
    assert code == 0, text
    assert len(list(Store(own / "found").records("trl"))) == 2
