"""The batch task's cache key, and what it tries again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.context import TaskRunContext
from prefect.states import Failed

from flows.prepare import prepare
from sweepflow.batching import Batch
from sweepflow.errors import ConfigError, DataError, StoreError
from tasks.batch import batch_key, can_pass, run_batch_task, workloads
from tests.prefect_server import TINY

NO_CONTEXT = cast("TaskRunContext", None)
"""The key does not depend on the run: that is what it is for."""


@pytest.fixture
def batch(tmp_path: Path) -> Batch[Any]:
    plan, _ = prepare([*TINY, "target.seed=1,2", f"store={tmp_path / 'store'}"])
    return plan.target_batches[0]


def key(batch: Batch[Any], workload: str = "target", store: str = "/a", memory_fraction: float = 0.5) -> str:
    parameters = {"workload": workload, "batch": batch, "store": store, "memory_fraction": memory_fraction}
    return batch_key(NO_CONTEXT, parameters)


def test_the_key_names_workload_and_version(batch: Batch[Any]) -> None:
    assert key(batch).startswith(f"target-v{workloads()['target'].version}-")
    assert key(batch, workload="llc").startswith(f"llc-v{workloads()['llc'].version}-")


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


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(5, "Input/output error"), True),
        (ConnectionResetError("by peer"), True),
        (TimeoutError("no answer"), True),
        (caused(StoreError("cannot be written"), OSError(28, "No space left on device")), True),
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


def test_the_delay_grows() -> None:
    delays = run_batch_task.retry_delay_seconds
    assert isinstance(delays, list)
    assert delays == sorted(set(delays)) and len(delays) == run_batch_task.retries
