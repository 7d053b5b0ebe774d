"""What a sweep says of how far it is."""

from __future__ import annotations

from typing import Any

import pytest

from sweepflow.store.record import Record
from tasks.progress import SweepProgress


@pytest.fixture
def told() -> dict[str, Any]:
    return {}


@pytest.fixture
def progress(told: dict[str, Any]) -> SweepProgress:
    """Of three trials in two batches, with two more in the store; without a Prefect server to show it."""
    return SweepProgress("a sweep", ["trl_1", "trl_2", "trl_3"], 2, 2, tell=lambda **said: told.update(said))


def record(trial_id: str) -> Record:
    return Record(trial_id, "walks", 1, "ok", (), {}, {})


def test_trials_count_once_whoever_says_so(progress: SweepProgress, told: dict[str, Any]) -> None:
    progress.trial_done(record("trl_1"))
    progress.trial_done(record("trl_1"))
    progress.batch_done("batch 1", {"trl_1", "trl_2"}, "Completed")
    assert (told["total"], told["done"], told["known"]) == (5, 4, 2)
    assert progress.counts == "batches 1/2, trials 2/3, 2 from the store"


def test_trials_without_a_record_do_not_count(progress: SweepProgress, told: dict[str, Any]) -> None:
    progress.batch_done("batch 1", set(), "Failed")
    assert told["done"] == 2 and progress.counts.startswith("batches 1/2, trials 0/3")


def test_a_long_batch_shows_how_far_it_is(progress: SweepProgress, told: dict[str, Any]) -> None:
    progress.points("batch 1", 1, 4)
    assert told["waiting"] == "25% of batch 1"
    progress.points("a target that is not trained", 0, 0)
    assert "100% of a target that is not trained" in told["waiting"]
    progress.now("2 jobs pending (2 for Resources)", 0, ("", 0.0))
    assert told["waiting"] == "2 jobs pending (2 for Resources)", "that comes first"
    progress.now("", 0, ("", 0.0))
    progress.batch_done("batch 1", {"trl_1"}, "Completed")
    assert "batch 1" not in told["waiting"]


def test_what_workers_do_is_said_once(
    progress: SweepProgress, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        progress.now("1 job starting", 1, ("batch 1", 600.0))
    said = capsys.readouterr().err
    assert said.count("waiting: 1 job starting") == 1 and said.count("workers lost: 1") == 1
    assert told["lost"] == 1


def test_a_batch_that_was_cut_is_several(progress: SweepProgress) -> None:
    progress.split(1)
    assert progress.counts.startswith("batches 0/3")
