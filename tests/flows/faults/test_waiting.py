"""What cannot start waits and says for what, or is refused with its cause; nobody waits in vain."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from sweepflow.errors import ConfigError
from sweepflow.flows.runners.jobs import RunnerError
from sweepflow.flows.runs.heartbeat import latest
from tests.flows.faults.lab import TWO_JOBS, Lab, bits
from tests.slurm.processes import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.server, pytest.mark.slow]

DRIFTS = [0.1, 0.2]


def test_a_full_cluster_is_waited_for(lab: Lab, undisturbed: Any, capfd: pytest.CaptureFixture[str]) -> None:
    overrides = lab.walks(DRIFTS, *TWO_JOBS)
    expected = undisturbed(overrides)
    others = [lab.slurm.submit("sleep 600", "--exclusive", "--job-name=others") for _ in range(3)]
    for job_id in others:
        lab.slurm.reaches(job_id, "RUNNING")

    def waiting() -> str:
        beat = latest()
        return beat.record.waiting or "" if beat is not None and beat.store.root == lab.store.root else ""

    def make_room() -> None:
        wait_for(waiting, "it says what it waits for", until=lambda text: "Resources" in text)
        lab.slurm.cancel(*others)

    assert lab.sweep(overrides, meanwhile=make_room).sound
    assert bits(lab.store) == expected
    said = capfd.readouterr().err
    assert "waiting: 2 jobs pending (" in said and "for Resources" in said, said
    assert lab.lost() == ([], [])
    lab.nothing_is_left()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "runner.partition=nope",
            "SLURM does not take the job: .*invalid partition.*debug .the default.*short",
        ),
        ("runner.account=nobody", "SLURM does not take the job: .*account"),
        ("runner.gres=gpu:a100:1", "SLURM does not take the job: .*gres"),
    ],
)
def test_what_slurm_does_not_take_is_refused_before_any_work(override: str, words: str, lab: Lab) -> None:
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        lab.sweep(lab.walks(DRIFTS, *TWO_JOBS, override))
    seen = lab.prefect.see()
    assert seen.run.state.name == "Failed" and seen.tasks == []
    assert lab.begun() == []
    lab.nothing_is_left()


def test_a_worker_with_other_packages_takes_no_work(lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "other packages" / "optax-0.0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: optax\nVersion: 0.0.1\n")
    prologue = f"runner.prologue=['export PYTHONPATH=\"{other.parent}\"']"
    with pytest.raises(RunnerError, match=r"(?s)a worker refused to work.*optax is 0\.0\.1 there and"):
        lab.sweep(lab.walks(DRIFTS, *TWO_JOBS, prologue))
    assert lab.begun() == [] and lab.lost() == ([], [])
    assert lab.prefect.see().run.state.name == "Failed"
    lab.nothing_is_left()


def test_workers_that_end_before_they_work_end_the_sweep(lab: Lab) -> None:
    with pytest.raises(
        RunnerError, match=r"(?s)[34] jobs in a row ended.*no_such_module: command not found.*#SBATCH"
    ):
        lab.sweep(lab.walks(DRIFTS, *TWO_JOBS, "runner.prologue=['no_such_module load jax || exit 3']"))
    assert lab.prefect.see().run.state.name == "Failed" and lab.begun() == []
    lab.nothing_is_left()


def test_a_controller_that_is_away_at_the_start_is_waited_for(
    lab: Lab, undisturbed: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    overrides = lab.walks(DRIFTS, *TWO_JOBS)
    expected = undisturbed(overrides)
    lab.slurm.stop_controller()
    back = threading.Timer(5, lab.slurm.start_controller)
    back.start()
    try:
        assert lab.sweep(overrides).sound
    finally:
        back.join()
    assert bits(lab.store) == expected
    assert "waiting: SLURM's controller does not answer" in capfd.readouterr().err
    lab.nothing_is_left()


def test_a_controller_that_stays_away_ends_the_sweep_in_the_time_that_is_stated(lab: Lab) -> None:
    lab.slurm.stop_controller()
    with pytest.raises(ConfigError, match="SLURM's controller does not answer"):
        lab.sweep(lab.walks(DRIFTS, *TWO_JOBS, "runner.submit_seconds=3"))
    lab.slurm.start_controller()
    lab.nothing_is_left()
