"""`sweepflow doctor`, as a user starts it, on a real cluster and without one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.prefect_server import Machine
from tests.slurm.cluster import Cluster
from tests.slurm.processes import PATIENCE, wait_for

pytestmark = [pytest.mark.server, pytest.mark.slow]
NO_SERVER = "http://127.0.0.1:9/api"


def left(machine: Machine) -> set[str]:
    """What the command has left in the store."""
    root = machine.directory / "sweepflow-data"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def marks(text: str, mark: str) -> list[str]:
    """The names of the checks that have this mark."""
    return [line[4:16].strip() for line in text.splitlines() if line.startswith(f"  {mark} ")]


@pytest.mark.slurm
def test_a_cluster_that_works(slurm: Cluster, office: Machine) -> None:
    code, text = office.run("sweepflow", "doctor", "runner=slurm", "runner.cores=2", "runner.interface=lo")
    assert code == 0, text
    assert (
        "#SBATCH --cpus-per-task=2" in text
        and "-m sweepflow.flows.runners.worker tcp://THIS-HOST:PORT" in text
    )
    here, there = text.split("\nthere\n")
    assert marks(here, "✓") == ["store", "controller", "job", "address", "server", "interface"]
    assert marks(there, "✓") == ["node", "versions", "store", "server", "store, back", "devices"]
    assert sys.executable in there and "cpu: cpu x2, for each of a job's workers (2)" in there
    assert marks(text, "✗") == [] and text.rstrip().endswith("all is well")
    assert left(office) == {".token"} and slurm.squeue() == []


@pytest.mark.slurm
def test_gpus_that_jax_does_not_see_are_told(slurm: Cluster, office: Machine) -> None:
    """The test cluster's GPUs are none: a cluster whose JAX lacks its CUDA plugin looks the same."""
    code, text = office.run("sweepflow", "doctor", "runner=slurm", "runner.gpus=1")
    assert code == 2 and marks(text, "✗") == ["devices"]
    assert "JAX finds no GPU there" in text and "CUDA_VISIBLE_DEVICES=0; JAX: cpu x2" in text
    assert "jax[cuda12]" in text


@pytest.mark.slurm
def test_a_bad_partition_is_told_before_any_job(slurm: Cluster, office: Machine) -> None:
    before = slurm.squeue(ended=True)
    code, text = office.run("sweepflow", "doctor", "runner=slurm", "runner.partition=nope")
    assert code == 2 and marks(text, "✗") == ["job"]
    assert "invalid partition specified: nope" in text and "debug (the default), up to 1:00:00" in text
    assert "there" not in text.splitlines() and slurm.squeue(ended=True) == before


@pytest.mark.slurm
def test_no_server_is_told_with_the_command_that_starts_one(slurm: Cluster, machine: Machine) -> None:
    code, text = machine.run("sweepflow", "doctor", "runner=slurm")
    assert code == 2 and marks(text, "✗") == ["address"]
    assert "prefect server start --host 0.0.0.0" in text and "export PREFECT_API_URL=http://" in text


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("python", "said"),
    [("/nowhere/python", "No such file or directory"), ("/bin/false", "FAILED with exit code 1")],
)
def test_a_python_that_does_not_start_is_told_with_the_jobs_last_words(
    slurm: Cluster, office: Machine, python: str, said: str
) -> None:
    code, text = office.run("sweepflow", "doctor", "runner=slurm", f"runner.python={python}")
    assert code == 2, text
    assert said in text and "has found nothing" in text and "runner.python or runner.prologue" in text
    assert slurm.squeue() == []


@pytest.mark.slurm
def test_a_python_without_sweepflow_is_told(slurm: Cluster, office: Machine, tmp_path: Path) -> None:
    """Isolated from what this one has installed."""
    code, text = office.run(
        "sweepflow", "doctor", "runner=slurm", f"runner.python='\"{sys.executable}\" -I -S'"
    )
    assert code == 2 and "ModuleNotFoundError" in text and "has found nothing" in text


@pytest.mark.slurm
def test_a_store_that_nodes_do_not_see_is_told(slurm: Cluster, office: Machine, tmp_path: Path) -> None:
    """A node with another directory at the path of the store, made so by the prologue."""
    other = tmp_path / "of the node"
    prologue = f"runner.prologue=['export SWEEPFLOW_STORE_ROOT=\"{other}\"']"
    code, text = office.run("sweepflow", "doctor", "runner=slurm", prologue)
    assert code == 2 and marks(text.split("\nthere\n")[1], "✗") == ["store"], text
    assert f"{other} is not there" in text and "store=DIR" in text


@pytest.mark.slurm
def test_a_server_that_nodes_do_not_reach_is_told(slurm: Cluster, office: Machine) -> None:
    prologue = f"runner.prologue=['export PREFECT_API_URL={NO_SERVER}']"
    code, text = office.run("sweepflow", "doctor", "runner=slurm", prologue)
    assert code == 2 and marks(text.split("\nthere\n")[1], "✗") == ["server"], text
    assert NO_SERVER in text


@pytest.mark.slurm
@pytest.mark.parametrize("request_", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "TERM"])
def test_it_says_what_it_waits_for_and_takes_its_job_back(
    slurm: Cluster, office: Machine, request_: signal.Signals
) -> None:
    full = slurm.submit("exec sleep 300", "--nodes=3", "--exclusive")
    slurm.reaches(full, "RUNNING")
    running = office.start("sweepflow", "doctor", "runner=slurm")
    running.wait_for(lambda text: "waits for free resources (Resources)" in text)
    assert len(slurm.squeue()) == 2
    running.process.send_signal(request_)
    assert running.process.wait(PATIENCE) == 128 + request_, running.text
    wait_for(lambda: [job.id for job in slurm.squeue()] == [full], "its job is gone")


@pytest.mark.slurm
def test_without_a_job_it_looks_from_here_only(slurm: Cluster, office: Machine) -> None:
    before = slurm.squeue(ended=True)
    code, text = office.run("sweepflow", "doctor", "runner=slurm", "--no-job", "--store", "another store")
    assert code == 0 and "there" not in text.splitlines() and slurm.squeue(ended=True) == before
    assert (office.directory / "another store" / ".token").exists()


def test_a_machine_without_slurm_says_so(machine: Machine, tmp_path: Path) -> None:
    nothing = tmp_path / "bin"
    nothing.mkdir()
    code, text = machine.run("sweepflow", "doctor", "runner=slurm", PATH=str(nothing))
    assert code == 2 and "there is no scontrol on this machine" in text


def test_a_misspelled_key_is_told(machine: Machine) -> None:
    code, text = machine.run("sweepflow", "doctor", "runner=slurm", "runner.partiton=gpu")
    assert code == 2 and "did you mean 'runner.partition'?" in text


@pytest.mark.parametrize("runner", ["local", "dask"])
def test_the_other_runners_show_this_machine(machine: Machine, runner: str) -> None:
    code, text = machine.run("sweepflow", "doctor", f"runner={runner}", SWEEPFLOW_CORES="3")
    assert code == 0, text
    for words in (
        "3 of cpu",
        "cores         3",
        "versions      sweepflow",
        "programs are kept in",
        "✓ store",
    ):
        assert words in text
    if runner == "dask":
        assert "3 processes, each with one core and one thread" in text
