"""SLURM's commands, on a real cluster."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from sweepflow.flows.runners import slurm as commands
from sweepflow.flows.runners import slurm_command
from sweepflow.flows.runners.reasons import hopeless
from sweepflow.flows.runners.slurm import Ended
from sweepflow.flows.runners.slurm_command import SlurmError, SubmitError
from tests.slurm.cluster import Cluster
from tests.slurm.processes import wait_for

pytestmark = pytest.mark.slurm
NAME = "sweepflow-a b|c,d'e"
"""A job's name with what might be taken for a separator."""


def script(command: str, *directives: str, name: str = NAME, directory: Path | None = None) -> str:
    output = f'{directory}/%j.log"' if directory else '/dev/null"'
    lines = [f'-J "{name}"', f'--output="{output}', "--mem=100M", *directives]
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in lines), command, ""])


def end_of(job_id: str) -> Ended:
    wait_for(lambda: commands.ended(job_id) is not None, f"the end of job {job_id}")
    found = commands.ended(job_id)
    assert found is not None
    return found


def state_of(job_id: str) -> str:
    return next((job.state for job in commands.queue() if job.id == job_id), "gone")


def running(command: str = "exec sleep 300", *directives: str, **more: str) -> str:
    job_id = commands.submit(script(command, *directives, **more))
    wait_for(lambda: state_of(job_id) == "RUNNING", "it runs")
    return job_id


def test_a_job_from_submission_to_cancellation(slurm: Cluster) -> None:
    job_id = running()
    (job,) = commands.queue(NAME)
    assert (job.id, job.name, job.state) == (job_id, NAME, "RUNNING")
    assert job.node in {"n1", "n2", "n3"} and job.started is not None and ":" in job.left
    assert commands.queue("sweepflow-another") == []
    assert commands.ended(job_id) is None
    commands.cancel([job_id, "999999"])  # one that there never was does no harm
    assert end_of(job_id) == Ended("CANCELLED", 0, 15, job.node)
    assert commands.queue() == []
    commands.cancel([job_id])
    commands.cancel([])


def test_jobs_are_ended_by_name_and_others_are_not(slurm: Cluster) -> None:
    mine, other = running(), running(name="sweepflow-other")
    commands.cancel_named(NAME)
    assert end_of(mine).innocent
    assert [job.id for job in commands.queue()] == [other]
    commands.cancel_named("nobody's")


@pytest.mark.parametrize(
    ("command", "expected", "innocent"),
    [
        ("exit 0", ("COMPLETED", 0, 0), False),
        ("exit 78", ("FAILED", 78, 0), False),
        ("kill -9 $$", ("FAILED", 0, 9), False),
    ],
)
def test_what_became_of_a_job(
    slurm: Cluster, command: str, expected: tuple[str, int, int], innocent: bool
) -> None:
    end = end_of(commands.submit(script(command)))
    assert (end.state, end.exit_code, end.signal) == expected
    assert end.node and end.innocent is innocent


def test_a_job_on_a_node_that_fails_says_nothing_against_its_work(slurm: Cluster) -> None:
    job_id = running("exec sleep 300", "--no-requeue")
    (job,) = commands.queue(NAME)
    slurm.set_node(job.node, "down")
    try:
        end = end_of(job_id)
    finally:
        slurm.set_node(job.node, "resume")
    assert end.state == "NODE_FAIL" and end.innocent


def test_a_requeued_job_has_not_ended(slurm: Cluster) -> None:
    job_id = running()
    slurm.requeue(int(job_id))
    wait_for(lambda: state_of(job_id) == "PENDING", "it is back in the queue")
    assert commands.ended(job_id) is None


def test_a_job_that_slurm_does_not_know_is_forgotten(slurm: Cluster) -> None:
    end = commands.ended("987654")
    assert end == Ended("FORGOTTEN") and end.innocent


def test_a_job_that_is_held_or_full_nodes_say_why_they_wait(slurm: Cluster) -> None:
    held = commands.submit(script("true", "--hold"))
    wait_for(lambda: any(j.reason == "JobHeldUser" for j in commands.queue()), "held")
    everything = running("exec sleep 300", "--nodes=3", "--exclusive")
    full = commands.submit(script("true", "--exclusive"))
    wait_for(lambda: any(j.id == full and j.reason == "Resources" for j in commands.queue()), "it waits")
    jobs = {job.id: job for job in commands.queue()}
    assert jobs[held].started is None and jobs[held].node == "" and hopeless(jobs[held].reason)
    assert jobs[full].state == "PENDING" and not hopeless(jobs[full].reason)
    assert list(jobs) == sorted([held, everything, full], key=int)


REFUSED = [
    ("--partition=nope", "invalid partition specified: nope"),
    ("--gres=gpu:77", "Requested node configuration is not available"),
    ("--gres=tpu:1", "Invalid generic resource"),
    ("--account=nope", "Invalid account"),
    ("--qos=nope", "Invalid qos"),
    ("--time=10-0", "time limit"),
    ("--constraint=nope", "Invalid feature specification"),
]


@pytest.mark.parametrize(("directive", "words"), REFUSED)
def test_what_slurm_refuses_it_refuses_with_words(slurm: Cluster, directive: str, words: str) -> None:
    text = script("true", directive)
    assert words in str(commands.test_only(text))
    with pytest.raises(SubmitError) as refused:
        commands.submit(text)
    assert not refused.value.may_pass and str(refused.value.got)
    assert commands.queue() == []


def test_what_slurm_takes_is_not_submitted_by_asking(slurm: Cluster) -> None:
    assert commands.test_only(script("true")) is None
    assert commands.queue() == []


def test_what_is_typed_wins_over_the_environment(slurm: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SBATCH_PARTITION": "nope",
        "SBATCH_JOB_NAME": "nope",
        "SQUEUE_STATES": "FAILED",
    }.items():
        monkeypatch.setenv(name, value)
    assert "nope" in str(commands.test_only(script("true")))  # as SLURM has it, where nothing is typed
    job_id = running("exec sleep 300", "-p debug")
    assert [(job.id, job.name) for job in commands.queue(NAME)] == [(job_id, NAME)]


def test_output_goes_where_it_is_told_to(slurm: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "a researcher's logs"
    directory.mkdir()
    job_id = commands.submit(script("echo hello", directory=directory))
    end_of(job_id)
    assert (directory / f"{job_id}.log").read_text() == "hello\n"


def test_partitions_and_nodes(slurm: Cluster) -> None:
    found = {p.name: p for p in commands.partitions()}
    assert found["debug"].default and found["debug"].up and found["debug"].nodes == 3
    assert found["short"].limit == "1:00" and not found["short"].default
    assert [(n.name, n.address, n.partitions) for n in commands.nodes()] == [
        (f"n{i}", "127.0.0.1", ("debug", "short")) for i in (1, 2, 3)
    ]


@pytest.mark.slow
def test_a_controller_that_is_away_may_come_back(slurm: Cluster) -> None:
    assert commands.answers()
    slurm.stop_controller()
    try:
        assert not commands.answers()
        for ask in (lambda: commands.submit(script("true")), lambda: commands.test_only(script("true"))):
            with pytest.raises(SlurmError) as refused:
                ask()
            assert refused.value.may_pass, refused.value
            assert pickle.loads(pickle.dumps(refused.value)).may_pass
    finally:
        slurm.start_controller()
    commands.cancel([commands.submit(script("true"))])


def asks() -> list[Callable[[], object]]:
    return [
        lambda: commands.submit(script("true")),
        lambda: commands.test_only(script("true")),
        commands.queue,
        commands.partitions,
        lambda: commands.ended("1"),
        lambda: commands.cancel(["1"]),
        commands.answers,
    ]


@pytest.mark.parametrize("number", range(len(asks())))
def test_without_slurm_an_error_says_so(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SlurmError, match=r"there is no (sbatch|squeue|sinfo|scontrol|scancel) on this machine"
    ) as said:
        asks()[number]()
    assert "module load slurm" in str(said.value) and not said.value.may_pass


def test_a_command_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm_command, "COMMAND_SECONDS", 0.3)
    with pytest.raises(SubmitError, match="sbatch did not end") as given_up:
        commands.submit(script("true"))
    assert given_up.value.may_pass
    with pytest.raises(SlurmError, match="squeue did not end"):
        commands.queue()
