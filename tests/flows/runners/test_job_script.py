"""The batch script: what SLURM reads of it, what bash makes of it, and what never gets into it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepflow.flows.runners.job_script import job_name, job_of, job_script, log_path, probe_script
from sweepflow.schema.runner import SlurmRunner

SHOW = r"printf %s\\n"
"""In the place of Python: bash then prints the arguments, one a line."""
LOGS = Path("/logs")


def script(runner: SlurmRunner | None = None, **changes: Any) -> str:
    given: dict[str, Any] = {
        "scheduler": "tcp://10.0.0.1:4000",
        "job_name": "sweepflow-abc",
        "logs": LOGS,
        "environment": {},
    }
    return job_script(runner or SlurmRunner(), **{**given, **changes})


def directives(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def run(text: str, **environment: str) -> list[str]:
    """What bash passes to Python, with variables of a job in its environment."""
    done = subprocess.run(
        ["bash", "-u"],
        input=text,
        env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "71", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, f"{done.stderr}\n{text}"
    return done.stdout.splitlines()


def option(arguments: list[str], name: str) -> str:
    """The value that counts: the last."""
    return [after for before, after in itertools.pairwise(arguments) if before == name][-1]


def test_everything_that_is_asked_for_is_a_directive() -> None:
    runner = SlurmRunner(
        partition="gpu",
        account="me",
        qos="high",
        walltime="2-03:00:00",
        cores=8,
        memory="32GB",
        gres="gpu:a100:2",
        constraint="a|b",
        directives=("--exclusive", "--mail-type=FAIL"),
    )
    assert directives(script(runner)) == [
        *("-J sweepflow-abc", "-p gpu", "-A me", "-n 1", "--cpus-per-task=8", "--mem=30G", "-t 2-03:00:00"),
        *("--qos=high", "--gres=gpu:a100:2", "--constraint=a|b", "--exclusive", "--mail-type=FAIL"),
        *('--output="/logs/sweepflow-abc-%j.log"', "--open-mode=append"),
    ]


def test_what_is_not_asked_for_is_left_to_slurm() -> None:
    assert directives(script()) == [
        *("-J sweepflow-abc", "-n 1", "--cpus-per-task=1", "--mem=4G", "-t 01:00:00"),
        *('--output="/logs/sweepflow-abc-%j.log"', "--open-mode=append"),
    ]
    assert "--gres=gpu:3" in directives(script(SlurmRunner(gpus=3)))


def test_bash_starts_the_workers_of_the_job(tmp_path: Path) -> None:
    runner = SlurmRunner(python=SHOW, cores=3, walltime="10", interface="ib0", connect_seconds=33)
    arguments = run(script(runner), TMPDIR=str(tmp_path))
    assert arguments[:4] == ["-P", "-m", "sweepflow.flows.runners.worker", "tcp://10.0.0.1:4000"]
    assert option(arguments, "--name") == "sweepflow-71"
    assert option(arguments, "--local-directory") == str(tmp_path)
    assert option(arguments, "--death-timeout") == "33"
    assert option(arguments, "--interface") == "ib0"


def test_workers_leave_in_time_whenever_they_are_started(tmp_path: Path) -> None:
    """A prologue that takes long is taken off: the walltime counts from the start of the job."""
    prologue = ("echo $SWEEPFLOW_LEAVE_AT", "date() { command date -d '+100 seconds' +%s; }")
    before = time.time()
    leave_at, *arguments = run(script(SlurmRunner(python=SHOW, walltime="10", prologue=prologue)))
    assert before + 538 <= int(leave_at) <= time.time() + 541
    lifetime, stagger = int(option(arguments, "--lifetime")), int(option(arguments, "--lifetime-stagger"))
    assert 540 + 20 - 102 <= lifetime <= 540 + 20 - 98
    assert 100 + lifetime + stagger < 600 and lifetime - stagger + 101 > 540


def test_a_job_that_starts_again_has_workers_of_another_name() -> None:
    again = option(run(script(SlurmRunner(python=SHOW)), SLURM_RESTART_COUNT="2"), "--name")
    assert again == "sweepflow-71r2"
    assert job_of(again) == job_of("sweepflow-71") == job_of("sweepflow-71-3") == job_of(f"{again}-0") == "71"


@pytest.mark.parametrize("worker", ["worker-71", "sweepflow-", "sweepflow-abc-0", "71", "tcp://1.2.3.4:5"])
def test_a_worker_of_another_kind_is_in_no_job(worker: str) -> None:
    assert job_of(worker) is None


@given(value=st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@settings(max_examples=40)
def test_values_reach_the_job_as_they_are(value: str) -> None:
    runner = SlurmRunner(python=SHOW, prologue=('printf "%s\\n" "$SWEEPFLOW_X"',))
    assert run(script(runner, environment={"SWEEPFLOW_X": value}))[0] == value


@pytest.mark.parametrize("name", ["PREFECT_API_KEY", "WANDB_API_KEY", "PREFECT_API_AUTH_STRING", "X_token"])
def test_secrets_are_not_written_into_scripts(name: str) -> None:
    assert "hunter2" not in script(environment={name: "hunter2"})


def test_what_belongs_to_one_worker_is_not_handed_on() -> None:
    """The driver may be a worker's job itself."""
    given = {"SWEEPFLOW_LEAVE_AT": "1", "SWEEPFLOW_PROCESSES": "77", "SWEEPFLOW_CORES": "1"}
    text = script(SlurmRunner(gpus=2, cores=4), environment=given)
    assert "export SWEEPFLOW_PROCESSES=2\n" in text
    assert "77" not in text and "SWEEPFLOW_CORES" not in text and "SWEEPFLOW_LEAVE_AT=1\n" not in text


@pytest.mark.parametrize(
    ("scratch", "expected"),
    [("/scratch/$USER", "/scratch/ada"), ("/a dir", "/a dir"), ('/a"b`c', '/a"b`c'), ("$TMPDIR/x", "/tmp/x")],
)
def test_scratch_is_one_word_in_which_variables_are_replaced(scratch: str, expected: str) -> None:
    runner = SlurmRunner(python=SHOW, scratch=scratch, prologue=("mkdir() { :; }",))
    arguments = run(script(runner), USER="ada", TMPDIR="/nowhere/of/this/node")
    assert option(arguments, "--local-directory") == expected


def test_python_may_be_a_path_with_a_space_or_several_words() -> None:
    assert run(script(SlurmRunner(python="echo a 'b  c'")))[0].startswith(
        "a b  c -P -m sweepflow.flows.runners.worker"
    )


def test_the_prologue_can_change_what_is_exported() -> None:
    runner = SlurmRunner(python=SHOW, prologue=("PREFECT_API_URL=tunnel", 'echo "$PREFECT_API_URL"'))
    assert run(script(runner, environment={"PREFECT_API_URL": "http://a"}))[0] == "tunnel"


def test_dask_configuration_of_the_user_or_site_has_no_say() -> None:
    plain = script()
    theirs = {"queue": "theirs", "job-extra-directives": ["--theirs"], "job-script-prologue": ["theirs"]}
    with dask.config.set({"jobqueue.slurm": {**dask.config.get("jobqueue.slurm"), **theirs}}):
        assert script() == plain


def test_the_probe_is_the_same_job_with_another_command() -> None:
    runner = SlurmRunner(partition="gpu", gpus=1, prologue=("module load cuda",))
    worker = script(runner).rstrip("\n").splitlines()
    probe = probe_script(
        runner, job_name="sweepflow-abc", logs=LOGS, environment={}, findings=Path("/a dir/f.json")
    ).splitlines()
    assert probe[:-1] == worker[:-1]
    assert probe[-1].endswith("-m sweepflow.flows.runners.probe '/a dir/f.json'")


@pytest.mark.parametrize("threaded", [False, True])
def test_writing_a_script_leaves_ctrl_c_alone(threaded: bool) -> None:
    """dask-jobqueue makes it end the process with exit code 0, and fails where a thread imports it first."""
    code = (
        "import signal, sys, threading\n"
        "from pathlib import Path\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "def write():\n"
        "    from sweepflow.flows.runners.job_script import job_script\n"
        "    from sweepflow.schema.runner import SlurmRunner\n"
        "    text = job_script(SlurmRunner(), scheduler='a', job_name='b', logs=Path('/'), environment={})\n"
        "    print(text)\n"
        "thread = threading.Thread(target=write)\n"
        f"{'thread.start(); thread.join()' if threaded else 'write()'}\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
        "assert signal.signal(signal.SIGINT, before) is before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "#SBATCH -J b" in done.stdout, done.stderr


def test_a_name_is_the_beginning_of_the_flow_runs_id() -> None:
    assert job_name("0693C2D1-7b5a-7e4f-8000-1234567890ab") == "sweepflow-0693c2d17b5a"
    assert log_path(LOGS, "sweepflow-abc", "71") == LOGS / "sweepflow-abc-71.log"
