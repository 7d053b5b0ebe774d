"""The batch task's cache key, and what it tries again."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.context import TaskRunContext
from prefect.states import Failed

from sweepflow import stop
from sweepflow.batching import Batch, slices
from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError, DataError, StoreError
from sweepflow.estimates.prepare import prepare
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.tasks.batch import batch_key, can_pass, find_workload, run_batch_here, run_batch_task
from sweepflow.tasks.worker import INTERRUPTED, LEAVE_AT
from sweepflow.workloads.command import CommandConfig
from tests.prefect_server import TINY

NO_CONTEXT = cast("TaskRunContext", None)
"""The key does not depend on the run: that is what it is for."""


@pytest.fixture
def batch(tmp_path: Path) -> Batch[Any]:
    plan = prepare([*TINY, "target.seed=1,2", f"store={tmp_path / 'store'}"]).plan
    return plan.batches_of("target")[0]


def key(batch: Batch[Any], workload: str = "target", store: str = "/a", memory_fraction: float = 0.5) -> str:
    parameters = {
        "workload": workload,
        "batch": batch.to_json(),
        "store": store,
        "memory_fraction": memory_fraction,
    }
    return batch_key(NO_CONTEXT, parameters)


def test_the_key_names_workload_and_version(batch: Batch[Any]) -> None:
    assert key(batch).startswith(f"target-v{find_workload('target').version}-")
    assert key(batch, workload="llc").startswith(f"llc-v{find_workload('llc').version}-")


def test_the_key_depends_on_trials_and_store_and_on_nothing_else(batch: Batch[Any]) -> None:
    assert key(batch, memory_fraction=0.1) == key(batch)
    assert key(replace(batch, size=64, number=3, of=9, label="another")) == key(batch)
    assert key(replace(batch, trials=batch.trials[::-1])) == key(batch)
    assert key(replace(batch, trials=batch.trials[:1])) != key(batch)
    assert key(batch, store="/b") != key(batch)


def test_the_key_can_be_a_file_name(batch: Batch[Any]) -> None:
    assert key(batch).replace("-", "").isalnum() and len(key(batch)) < 100


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def failed(number: int) -> OSError:
    """An error as the operating system gives it: of the number's own class."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (failed(errno.EIO), True),
        (failed(errno.ESTALE), True),
        (failed(errno.EAGAIN), True),
        (failed(errno.ETIMEDOUT), True),
        (failed(errno.EMFILE), True),
        (ConnectionResetError("by peer"), True),
        (TimeoutError("no answer"), True),
        (caused(StoreError("cannot be written"), failed(errno.EIO)), True),
        (caused(StoreError("cannot be written"), failed(errno.ENOSPC)), False),
        (caused(StoreError("cannot be written"), failed(errno.EROFS)), False),
        (failed(errno.EDQUOT), False),
        (failed(errno.EACCES), False),
        (failed(errno.EPERM), False),
        (failed(errno.ENOENT), False),
        (failed(errno.ENOTDIR), False),
        (failed(errno.EEXIST), False),
        (OSError("without a number"), False),
        (caused(StoreError("arrays do not match"), ValueError("the content does not match")), False),
        (StoreError("for no reason of the file system"), False),
        (ConfigError("widths and data do not go together"), False),
        (DataError("a value is missing"), False),
        (ValueError("a wrong program"), False),
        (MemoryError(), False),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
def test_only_what_can_pass_is_tried_again(error: Exception, again: bool) -> None:
    run = cast("Any", None)
    assert can_pass(run_batch_task, run, Failed(data=error)) is again


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda store: store.paths.folder("tgt").write_text("a file"), id="a wrong path"),
        pytest.param(
            lambda store: store.paths.folder("tgt").symlink_to("/proc/self/fdinfo"),
            id="a place where nobody may write",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere"),
        ),
    ],
)
def test_a_store_that_nobody_mends_is_not_waited_for(
    spoil: Callable[[Store], object], tmp_path: Path, batch: Batch[Any]
) -> None:
    """With the errors that a real store raises."""
    store = Store(tmp_path / "store")
    store.root.mkdir(exist_ok=True)
    spoil(store)
    (trial, *_) = batch.trials
    with pytest.raises(StoreError) as caught:
        store.put(Record(trial.id, "target", 1, "ok", (), {}, {}))
    assert isinstance(caught.value.__cause__, OSError)
    assert not can_pass(run_batch_task, cast("Any", None), Failed(data=caught.value))


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
def test_a_store_that_gives_an_io_error_is_tried_again(tmp_path: Path, batch: Batch[Any]) -> None:
    store = Store(tmp_path / "store")
    (trial, *_) = batch.trials
    record = store.paths.record(trial.id)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.symlink_to("/proc/self/mem")  # reading its first byte is an I/O error, always
    with pytest.raises(StoreError) as caught:
        store.get(trial.id)
    assert can_pass(run_batch_task, cast("Any", None), Failed(data=caught.value))


def test_a_batch_that_is_interrupted_is_no_completed_one_and_is_run_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop, "_ENDING", True)
    config = CommandConfig(command=shlex.join([sys.executable, "--version"]), metrics=("loss",))
    (batch,) = slices("command", [Trial("trl_0123456789abcdef", config, 0)], 1)
    state = run_batch_here("command", batch.to_json(), str(store.root), 0.5)
    assert state.is_crashed() and state.name == INTERRUPTED
    assert state.data["left"], "should Prefect remember it"
    assert not store.known(["trl_0123456789abcdef"])


def test_a_worker_that_has_to_leave_begins_none_of_the_trials_that_are_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LEAVE_AT, "1")
    command = shlex.join([sys.executable, "--version"])
    configs = [CommandConfig(command=command, metrics=("loss",), args={"x": x}) for x in (1, 2)]
    trials = [Trial(f"trl_{number:016x}", config, 0) for number, config in enumerate(configs)]
    for missing, left in ((trials, True), (trials[1:], False)):
        (batch,) = slices("command", missing, 2)
        said = run_batch_here("command", batch.to_json(), str(store.root), 0.5)
        assert (said.data if left else said)["left"] is left
        assert len(store.known(trial.id for trial in trials)) == (1 if left else 2)


def test_the_delay_grows() -> None:
    delays = run_batch_task.retry_delay_seconds
    assert isinstance(delays, list)
    assert delays == sorted(set(delays)) and len(delays) == run_batch_task.retries
