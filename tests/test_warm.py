"""Commands that are forks of one process are processes of their own, as a shell would start them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.prefect_server import Machine, isolated
from tests.slurm.processes import PATIENCE
from tests.warm import Command, warm


def test_it_has_its_own_directory_environment_output_and_exit_code(tmp_path: Path) -> None:
    machine = Machine(tmp_path, isolated(tmp_path / "home", SWEEPFLOW_STORE="a store"))
    code, text = machine.run("sweepflow", "runs")
    assert isinstance(machine.started[0].process, Command)
    assert (code, text.strip()) == (0, "there are no runs in a store; for another store add --store DIR")
    code, text = machine.run("sweepflow", "runs", SWEEPFLOW_STORE="another")
    assert "no runs in another" in text
    code, text = machine.run("sweepflow", "no-such-command")
    assert code == 2 and "No such command" in text


def test_it_can_be_signalled_with_its_group(tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text("import time\ntime.sleep(600)\n")
    machine = Machine(tmp_path, {**os.environ})
    running = machine.start("sweepflow", "train", f"workload={tmp_path / 'wait.py'}", "store=s")
    assert running.process.poll() is None and os.getpgid(running.process.pid) == running.process.pid
    os.killpg(running.process.pid, signal.SIGKILL)
    assert running.process.wait(PATIENCE) == -signal.SIGKILL == running.process.poll()


def test_a_command_whose_libraries_would_see_other_settings_is_started_anew(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)})
    assert machine.run("sweepflow", "runs")[0] == 0
    assert isinstance(machine.started[0].process, subprocess.Popen)


def test_shells_find_it(tmp_path: Path) -> None:
    path = os.pathsep.join([str(warm().shell_command()), os.environ["PATH"]])
    line = 'echo before; sweepflow runs --store "a b" | tr a-z A-Z; sweepflow no-such-command; exit $?'
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith("before\nTHERE ARE NO RUNS IN A B")


@pytest.mark.parametrize("number", range(3))
def test_nothing_of_one_is_in_another(number: int, tmp_path: Path) -> None:
    _, text = Machine(tmp_path, {**os.environ}).run("sweepflow", "runs", "--store", f"store {number}")
    assert f"store {number};" in text
