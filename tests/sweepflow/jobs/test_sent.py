"""A job that travels: sent, called as a worker calls it, received."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sweepflow import stop
from sweepflow.engine.failure import failed_record
from sweepflow.errors import ConfigError
from sweepflow.jobs.call import Callee, recall
from sweepflow.jobs.job import Job
from sweepflow.jobs.plan import JobPlan
from sweepflow.jobs.sent import (
    WORKLOAD,
    CallError,
    NotCalledError,
    _callee,
    check_sendable,
    run_trials,
    sending,
)
from sweepflow.stop import InterruptedBatchError
from sweepflow.storage.store import Store

RUN = "0123"


def plan_of(function: Callable[[Any], Any], store: Store, *overrides: str) -> JobPlan:
    plan = JobPlan({"x": 1}, function, overrides, store.root)
    plan.add(overrides)
    return plan


def travelled(plan: JobPlan) -> list[Job]:
    """The plan's jobs, after they were called elsewhere."""
    _callee.cache_clear()  # a worker serves one flow run
    with sending(plan.callee, RUN) as sender:
        trials = [sender.send(job) for job in plan.jobs]
        records = run_trials(trials, sender.calls)
        assert [record.id for record in records] == [trial.id for trial in trials]
        for trial, job in zip(trials, plan.jobs, strict=True):
            sender.receive(trial.id, job)
    assert not plan.callee.store.paths.calls(RUN).exists()
    return list(plan.jobs)


def test_a_job_that_travels_is_the_job_that_stays(store: Store) -> None:
    offset = 10
    first, second = travelled(plan_of(lambda cfg: cfg.x + offset, store, "x=1,2"))
    assert (first.return_value, second.return_value) == (11, 12)
    assert first.duration > 0 and Path(first.working_dir).is_dir()
    first.value = None
    callee = Callee(len, "len", None, store)
    assert recall(callee, first) and first.value == 11, "the store has it under the job's own id"


def test_what_it_raises_is_raised_here(store: Store) -> None:
    (job,) = travelled(plan_of(lambda cfg: 1 // (cfg.x - 1), store))
    assert job.status == "failed" and "1 // (cfg.x - 1)" in job.traceback
    with pytest.raises(ZeroDivisionError):
        _ = job.return_value
    record = store.get(job.fingerprint)
    assert record is not None
    assert record.status == "failed"


def test_one_that_fails_as_its_process_is_ended_has_no_result(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls_a_program(cfg: Any) -> None:
        from sweepflow import stop

        stop._ENDING = True
        raise subprocess.CalledProcessError(-15, "a program that was ended, too")

    monkeypatch.setattr(stop, "_ENDING", False)
    plan = plan_of(calls_a_program, store)
    _callee.cache_clear()
    with sending(plan.callee, RUN) as sender, pytest.raises(InterruptedBatchError):
        run_trials([sender.send(job) for job in plan.jobs], sender.calls)
    assert store.get(plan.jobs[0].fingerprint) is None


def test_a_value_that_cannot_be_pickled_fails_its_job_alone(store: Store) -> None:
    fine, bad = travelled(plan_of(lambda cfg: threading.Lock() if cfg.x == 2 else cfg.x, store, "x=1,2"))
    assert fine.return_value == 1
    with pytest.raises(CallError, match=r"cannot be pickled: lock(.|\n)*return numbers"):
        _ = bad.return_value


def test_one_that_was_not_called_says_why(store: Store) -> None:
    plan = plan_of(lambda cfg: cfg.x, store, "x=1,2")
    guilty, innocent = plan.jobs
    with sending(plan.callee, RUN) as sender:
        trials = [sender.send(job) for job in plan.jobs]
        sender.calls.put(failed_record(WORKLOAD, trials[0], "it ended its worker 3 times"))
        sender.receive(trials[0].id, guilty)
        sender.receive(trials[1].id, innocent, "batch 2: the disk is full")
    for job, why in ((guilty, "it ended its worker"), (innocent, "the disk is full")):
        with pytest.raises(NotCalledError, match=why):
            _ = job.return_value
    assert store.get(guilty.fingerprint) is not None and store.get(innocent.fingerprint) is None


def test_a_worker_resolves_what_the_user_and_hydra_register(store: Store) -> None:
    by = 3
    OmegaConf.register_new_resolver("times_three", lambda x: by * x)
    try:
        plan = JobPlan(
            {"x": "${times_three:2}", "y": "${now:%Y}"}, lambda cfg: (cfg.x, cfg.y), [], store.root
        )
        plan.add([])
        trials_of = plan.jobs[0]
        with sending(plan.callee, RUN) as sender:
            trial = sender.send(trials_of)
            OmegaConf.clear_resolver("times_three")
            OmegaConf.clear_resolver("now")
            _callee.cache_clear()
            run_trials([trial], sender.calls)
            sender.receive(trial.id, trials_of)
        assert trials_of.return_value == (6, str(datetime.now().year))
    finally:
        OmegaConf.clear_resolver("times_three")


def test_what_cannot_travel_is_refused(store: Store) -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"cannot be sent(.|\n)*lock"):
        check_sendable(plan_of(lambda cfg: lock, store).callee)


def test_a_function_that_cannot_be_read_there_says_so(store: Store) -> None:
    class Elsewhere:
        """Of a module that workers do not have."""

        def __reduce__(self) -> Any:
            return __import__, ("no_such_module_of_mine",)

        def __call__(self, cfg: Any) -> None: ...

    plan = plan_of(Elsewhere(), store)
    with (
        sending(plan.callee, "89ab") as sender,
        pytest.raises(ConfigError, match=r"cannot read the function(.|\n)*no_such_module_of_mine"),
    ):
        run_trials([sender.send(job) for job in plan.jobs], sender.calls)
