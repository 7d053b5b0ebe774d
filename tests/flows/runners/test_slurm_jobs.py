"""Jobs of workers: their life on a real cluster, and what is made of what SLURM's commands say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sweepflow.flows.runners import slurm as commands
from sweepflow.flows.runners.jobs import Ended, Held, StartError
from sweepflow.flows.runners.slurm_jobs import SlurmJobs
from sweepflow.schema.runner import SlurmRunner
from tests.slurm.cluster import Cluster
from tests.slurm.processes import wait_for

Say = Callable[..., None]
NAME = "sweepflow-0123456789ab"
SCHEDULER = "tls://127.0.0.1:9"
RUNNER = SlurmRunner(memory="100MB", prologue=("echo it begins; exec sleep 300",))


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Put commands in the place of SLURM's; each says its words and ends with its code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(command: str, words: str = "", code: int = 0) -> None:
        file = folder / command
        file.write_text(f"#!/bin/sh\ncat <<'END' {'>&2' if code else ''}\n{words}\nEND\nexit {code}\n")
        file.chmod(0o755)

    put("scancel")
    return put


def jobs(tmp_path: Path, runner: SlurmRunner = RUNNER) -> SlurmJobs:
    return SlurmJobs(runner, NAME, tmp_path / "the logs", {})


@pytest.mark.slurm
def test_a_job_from_its_start_to_its_end(slurm: Cluster, tmp_path: Path) -> None:
    found = jobs(tmp_path)
    job = found.start(SCHEDULER)
    wait_for(found.held, "it runs", until=lambda held: held == [Held(job, "running")])
    assert found.ended(job) is None
    wait_for(lambda: found.last_words(job), "its words", until=lambda words: words == "it begins")
    found.cancel([job])
    end = wait_for(lambda: found.ended(job), "its end")
    assert end is not None and end.innocent and end.why.startswith("CANCELLED, signal 15 on n")
    wait_for(found.held, "it is gone", until=lambda held: held == [])


@pytest.mark.slurm
def test_jobs_of_its_name_are_ended_before_and_after(slurm: Cluster, tmp_path: Path) -> None:
    stale = slurm.submit("sleep 300", f"--job-name={NAME}")
    other = slurm.submit("sleep 300", "--job-name=sweepflow-another")
    found = jobs(tmp_path)
    slurm.reaches(stale, "CANCELLED")
    found.start(SCHEDULER)
    found.close()
    wait_for(slurm.squeue, "they are gone", until=lambda left: [job.id for job in left] == [other])


@pytest.mark.slurm
def test_a_job_that_is_held_says_that_waiting_does_not_help(slurm: Cluster, tmp_path: Path) -> None:
    found = jobs(tmp_path, RUNNER.model_copy(update={"directives": ("--hold",)}))
    found.start(SCHEDULER)
    (held,) = wait_for(found.held, "the reason", until=lambda jobs: jobs and jobs[0].reason != "None") or ()
    assert (held.state, held.reason) == ("pending", "JobHeldUser") and "scontrol release" in held.hopeless


@pytest.mark.slurm
def test_what_slurm_does_not_take_cannot_be_started(slurm: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="SLURM does not take the job") as refused:
        jobs(tmp_path, RUNNER.model_copy(update={"partition": "nope"})).start(SCHEDULER)
    assert "invalid partition specified: nope" in str(refused.value) and not refused.value.passes


def test_a_controller_that_is_away_may_come_back(tmp_path: Path, say: Say) -> None:
    found = jobs(tmp_path)
    away = "Unable to contact slurm controller (connect failure)"
    for command in ("sbatch", "squeue", "scontrol", "scancel"):
        say(command, f"{command}: error: {away}", 1)
    with pytest.raises(StartError) as refused:
        found.start(SCHEDULER)
    assert refused.value.passes and refused.value.got == away
    assert found.held() is None and found.ended("7") is None, "nobody can say"
    found.cancel(["7"])
    found.close()


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ("JobState=RUNNING ExitCode=0:0 BatchHost=n1", None),
        ("JobState=REQUEUED ExitCode=0:15 BatchHost=n1", None),
        ("JobState=FAILED ExitCode=78:0 BatchHost=n1", Ended("FAILED, exit code 78 on n1", False, 78)),
        ("JobState=FAILED ExitCode=0:9 BatchHost=n1", Ended("FAILED, signal 9 on n1", False, 0)),
        (
            "JobState=OUT_OF_MEMORY ExitCode=0:125 BatchHost=n1",
            Ended("OUT_OF_MEMORY, signal 125 on n1", False, 0),
        ),
        (
            "JobState=TIMEOUT ExitCode=0:15 BatchHost=n1",
            Ended("TIMEOUT, signal 15 on n1", False, 0, late=True),
        ),
        ("JobState=NODE_FAIL ExitCode=1:0 BatchHost=n2", Ended("NODE_FAIL, exit code 1 on n2", True, 1)),
        ("JobState=PREEMPTED ExitCode=0:15 BatchHost=n1", Ended("PREEMPTED, signal 15 on n1", True, 0)),
        ("JobState=CANCELLED ExitCode=0:0 BatchHost=(null)", Ended("CANCELLED", True, 0)),
    ],
)
def test_how_a_job_ended_and_whether_that_says_anything_against_its_work(
    fields: str, ended: Ended | None, tmp_path: Path, say: Say
) -> None:
    say("scontrol", f"JobId=7 JobName={NAME} {fields}")
    assert jobs(tmp_path).ended("7") == ended


@pytest.mark.parametrize(
    ("slurms", "ours"),
    [
        *(
            (state, "pending")
            for state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")
        ),
        *((state, "running") for state in ("RUNNING", "SUSPENDED", "STOPPED")),
        ("COMPLETING", "ending"),
    ],
)
def test_what_a_job_does_for_us(slurms: str, ours: str, tmp_path: Path, say: Say) -> None:
    mine = commands.SEPARATOR.join(["7", slurms, "None", "n1", "N/A", "1:00", NAME])
    others = commands.SEPARATOR.join(["8", "RUNNING", "None", "n1", "N/A", "1:00", "sweepflow-another"])
    say("squeue", f"{mine}\n{others}")
    held = jobs(tmp_path).held()
    assert held is not None and [(job.id, job.state) for job in held] == [("7", ours)]


def test_an_error_shows_the_script_where_its_output_is_and_the_network(tmp_path: Path, say: Say) -> None:
    said = jobs(tmp_path, RUNNER.model_copy(update={"interface": "ib0"})).about()
    assert "#SBATCH -J sweepflow-0123456789ab" in said and "tcp://SCHEDULER" in said
    assert f"network interface: ib0\noutput: {tmp_path / 'the logs'}" in said
    assert "the one of the default route (runner.interface)" in jobs(tmp_path).about()
