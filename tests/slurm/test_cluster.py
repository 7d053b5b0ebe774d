"""The test cluster is a real SLURM: jobs, GPUs, refusals, losses, and nothing left of it afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sweepflow.errors import ConfigError
from tests.slurm import processes
from tests.slurm.cluster import ROOT, Cluster
from tests.slurm.config import LONGEST_PATH, Size
from tests.slurm.daemons import ClusterError
from tests.slurm.fixture import REQUIRED
from tests.slurm.processes import wait_for

pytestmark = pytest.mark.slurm
SLEEP = "sleep 300"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that is not there yet, with a space in its path, which is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="a b ", dir="/tmp") as parent:
        yield Path(parent) / "cluster"


def running(cluster: Cluster, *options: str, command: str = SLEEP) -> int:
    job = cluster.submit(command, *options)
    cluster.reaches(job, "RUNNING")
    return job


def by_hand(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.slurm` as by hand."""
    return subprocess.run(
        [sys.executable, "-m", "tests.slurm", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def daemons(slurm_conf: Path) -> list[psutil.Process]:
    """Processes that were started with that configuration, the daemons of steps not among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_CONF") == str(slurm_conf) and processes.alive(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_job_runs_on_a_node_with_the_environment_of_who_submits_it(slurm: Cluster) -> None:
    assert slurm.command("sinfo", "--noheader", "--format=%D %T", "--partition=debug") == "3 idle"
    job = slurm.submit("echo $SLURMD_NODENAME $SLURM_CONF")
    assert slurm.reaches(job, "COMPLETED").node in slurm.size.names
    assert slurm.output(job).split() == [slurm.job(job).node, os.environ["SLURM_CONF"]]
    assert slurm.reaches(slurm.submit("exit 3"), "FAILED").reason == "NonZeroExitCode"


def test_small_jobs_go_to_different_nodes(slurm: Cluster) -> None:
    jobs = [running(slurm, f"--job-name=a|b {number}") for number in range(3)]
    rows = slurm.squeue()
    assert [row.id for row in rows] == jobs
    assert [row.name for row in rows] == ["a|b 0", "a|b 1", "a|b 2"]
    assert {row.node for row in rows} == {"n1", "n2", "n3"}


def test_a_gpu_has_one_job_at_a_time(slurm: Cluster) -> None:
    say = f"echo gpu=$CUDA_VISIBLE_DEVICES; {SLEEP}"
    first = running(slurm, "--gres=gpu:1", "--nodelist=n2", command=say)
    wait_for(lambda: slurm.output(first), "the first job's GPU")
    assert slurm.output(first) == "gpu=0\n"
    without = running(slurm, "--nodelist=n2", command=say)
    wait_for(lambda: slurm.output(without), "the other job's words")
    assert slurm.output(without) == "gpu=\n"
    second = slurm.submit(say, "--gres=gpu:1", "--nodelist=n2")
    wait_for(lambda: slurm.job(second).reason == "Resources", "it waits for the GPU")
    slurm.cancel(first)
    slurm.reaches(second, "RUNNING")
    wait_for(lambda: slurm.output(second) == "gpu=0\n", "the second job has the GPU")


def test_two_gpus_of_a_node_go_to_two_jobs(directory: Path) -> None:
    cluster = Cluster(directory, Size(nodes=1, gpus=2), guarded=True).up()
    try:
        jobs = [
            running(cluster, "--gres=gpu:1", command=f"echo $CUDA_VISIBLE_DEVICES; {SLEEP}") for _ in "ab"
        ]
        wait_for(lambda: all(cluster.output(job) for job in jobs), "both say their GPU")
        assert sorted(cluster.output(job).strip() for job in jobs) == ["0", "1"]
    finally:
        cluster.down()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--partition=nope", "invalid partition specified: nope"),
        ("--account=nope", "Invalid account or account/partition combination specified"),
        ("--qos=nope", "Invalid qos specification"),
        ("--gres=tpu:1", "Invalid generic resource (gres) specification"),
        ("--gres=gpu:9", "Requested node configuration is not available"),
        ("--constraint=a100", "Invalid feature specification"),
        ("--mem=1T", "Requested node configuration is not available"),
        ("--time=61", "Requested time limit is invalid"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_queued(slurm: Cluster, option: str, message: str) -> None:
    with pytest.raises(ClusterError) as refused:
        slurm.command("sbatch", "--test-only", option, "--wrap=true")
    assert message in str(refused.value)
    accepted = ["--partition=short", "--time=1", "--account=sweeps", "--qos=normal", "--gres=gpu:1"]
    slurm.command("sbatch", "--test-only", *accepted, "--wrap=true")
    assert slurm.squeue() == []


def test_a_full_cluster_makes_jobs_wait_and_says_why(slurm: Cluster) -> None:
    running(slurm, "--nodes=3", "--exclusive")
    late = slurm.submit("true")
    wait_for(lambda: slurm.job(late).reason == "Resources", "the reason")
    assert slurm.job(late).state == "PENDING"


def test_cancelled_jobs_end_with_all_their_processes(slurm: Cluster) -> None:
    job = running(slurm, command=f"trap '' TERM; setsid {SLEEP} & {SLEEP}")
    wait_for(lambda: len(slurm.pids_of(job, "sleep")) == 2, "both children")
    children = [psutil.Process(pid) for pid in slurm.pids_of(job)]
    slurm.cancel(job)
    assert slurm.reaches(job, "CANCELLED").node
    wait_for(lambda: not any(map(processes.alive, children)), "KILL after KillWait")
    assert slurm.pids_of(job) == []


def test_a_requeued_job_runs_again_soon(slurm: Cluster) -> None:
    job = running(slurm, command=f"echo run $SLURM_RESTART_COUNT; {SLEEP}")
    wait_for(lambda: slurm.pids_of(job, "sleep"), "its process")
    before = slurm.pids_of(job)
    slurm.requeue(job)
    wait_for(lambda: slurm.job(job).state == "PENDING", "back in the queue")
    slurm.reaches(job, "RUNNING")
    wait_for(lambda: slurm.pids_of(job, "sleep"), "its process")
    assert not set(before) & set(slurm.pids_of(job))
    assert slurm.output(job) == "run 1\n"


def test_a_node_set_down_loses_its_job_to_another(slurm: Cluster) -> None:
    job = running(slurm, "--nodelist=n1", "--no-requeue")
    other = running(slurm)
    slurm.set_node("n1", "down", "a broken fan")
    assert slurm.reaches(job, "NODE_FAIL").node == "n1"
    assert slurm.node_state("n1").startswith("down")
    assert slurm.job(other).state == "RUNNING"
    slurm.set_node("n1", "resume")
    wait_for(lambda: slurm.node_state("n1") == "idle", "the node is back")


def test_jobs_outlive_a_controller_that_is_away(slurm: Cluster) -> None:
    job = running(slurm)
    wait_for(lambda: slurm.pids_of(job, "sleep"), "its process")
    before = slurm.pids_of(job)
    slurm.stop_controller()
    with pytest.raises(ClusterError, match=r"[Uu]nable to contact slurm controller"):
        slurm.squeue()
    assert slurm.pids_of(job) == before
    slurm.start_controller()
    assert slurm.job(job).state == "RUNNING"
    assert slurm.reaches(slurm.submit("true"), "COMPLETED")


def test_processes_of_a_job_are_found_by_their_words(slurm: Cluster) -> None:
    job, other = running(slurm, command="sleep 301"), running(slurm, command="sleep 302")
    wait_for(lambda: slurm.pids_of(job, "sleep 301"), "its process")
    (pid,) = slurm.pids_of(job, "sleep 301")
    assert slurm.pids_of(job, "sleep 302") == [] and pid not in slurm.pids_of(other)
    os.kill(pid, signal.SIGKILL)
    slurm.reaches(job, "FAILED")


def test_one_command_up_and_one_down_leave_nothing(directory: Path) -> None:
    up = by_hand("up", "--directory", str(directory), "--nodes", "1")
    assert up.returncode == 0, up.stderr
    cluster = Cluster(directory, Size(nodes=1))
    assert up.stdout == f"export SLURM_CONF='{directory}/slurm.conf'\n"
    again = by_hand("up", "--directory", str(directory))
    assert again.returncode == 1 and "a cluster is up in that directory" in again.stderr
    job = running(cluster, command=f"trap '' TERM; setsid {SLEEP} & {SLEEP}")
    wait_for(lambda: len(cluster.pids_of(job, "sleep")) == 2, "both children")
    left = [psutil.Process(pid) for pid in cluster.pids_of(job)] + daemons(cluster.paths.slurm_conf)
    assert {process.name() for process in left} >= {"munged", "slurmctld", "slurmd", "sleep"}

    down = by_hand("down", "--directory", str(directory))
    assert down.returncode == 0, down.stderr
    assert [process for process in left if processes.alive(process)] == []
    assert daemons(directory / "slurm.conf") == [] and not directory.exists()
    assert by_hand("down", "--directory", str(directory)).returncode == 0


def test_a_killed_owner_takes_its_cluster_down(directory: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.slurm.cluster import Cluster\n"
        "cluster = Cluster(Path(sys.argv[1]), guarded=True).up()\n"
        f"print(cluster.submit('{SLEEP}'), flush=True); time.sleep(300)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        job = int(owner.stdout.readline())
        cluster = Cluster(directory)
        wait_for(lambda: cluster.pids_of(job, "sleep"), "the job's process")
        left = [psutil.Process(pid) for pid in cluster.pids_of(job)] + daemons(cluster.paths.slurm_conf)
        owner.kill()
    wait_for(lambda: not directory.exists(), "the guard has taken it down")
    assert [process for process in left if processes.alive(process)] == []
    assert daemons(directory / "slurm.conf") == []


def test_a_directory_that_cannot_be_used_is_refused(directory: Path) -> None:
    directory.mkdir()
    (directory / "thesis.tex").write_text("all of it")
    with pytest.raises(ConfigError, match="holds something else"):
        Cluster(directory).up()
    with pytest.raises(ConfigError, match=f"at most {LONGEST_PATH} characters"):
        Cluster(directory / ("long" * 20)).up()
    (directory / "slurm.conf").write_text("ClusterName=production\n")
    with pytest.raises(ClusterError, match="none of the tests'"):
        Cluster(directory).down()
    assert sorted(file.name for file in directory.iterdir()) == ["slurm.conf", "thesis.tex"]


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_a_machine_without_slurm_skips_or_fails_where_it_is_required(
    tmp_path: Path, required: str, outcome: str
) -> None:
    done = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-rsE", "--noconftest", "-p", "tests.slurm.fixture"],
            *[__file__, "-k", "small_jobs"],
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), REQUIRED: required, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome in done.stdout and "apt-get install" in done.stdout, done.stdout
