"""What a task knows of the worker that it runs in."""

from __future__ import annotations

import pytest

from sweepflow.tasks.worker import LEAVE_AT, leave_at, worker_name


def test_a_process_that_nobody_ends_may_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LEAVE_AT, raising=False)
    assert leave_at() is None


def test_a_job_s_script_says_when_it_has_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEAVE_AT, "1790000000")
    assert leave_at() == 1_790_000_000.0


def test_the_process_of_a_flow_is_no_worker() -> None:
    assert worker_name() is None


def test_a_task_on_a_worker_knows_its_name() -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, processes=False, dashboard_address="127.0.0.1:0", threads_per_worker=1
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert client.submit(worker_name, pure=False).result(timeout=30) in {
            str(worker["id"]) for worker in client.scheduler_info()["workers"].values()
        }
