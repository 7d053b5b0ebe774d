"""Too little memory: batches are halved, and what does not fit even alone has failed, for now."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweepflow.engine.run import run_batch
from sweepflow.estimates.plan import make_plan
from sweepflow.estimates.workload import LLC
from sweepflow.schema.data import TeacherStudentData

ROWS = 250_000
"""Of 160 bytes: arrays above 32 MiB go back to the system as soon as they are freed, so a limit is felt."""
EXHAUST = """
import gc, json, resource, sys
from pathlib import Path
from sweepflow.engine.devices import configure
configure()
from sweepflow.engine.run import run_batch
from sweepflow.estimates.plan import make_plan
from sweepflow.schema.llc import LlcConfig
from sweepflow.storage.store import Store
from sweepflow.targets.workload import TARGET

root, texts = Path(sys.argv[1]), json.loads(sys.argv[2])
configs = [LlcConfig.model_validate_json(text) for text in texts]

def build(store, fraction=1.0):
    (batch,) = make_plan(configs, store).batches_of("target")
    records = run_batch(TARGET, batch.trials, store, size=batch.size, datasets=batch.datasets,
                        memory_fraction=fraction)
    calls = len({record.seconds.get("run") for record in records})  # a call's trials share its time
    return {record.id: [record.status, *record.reasons] for record in records}, calls

def allow(more):
    gc.collect()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, resource.RLIM_INFINITY))

# Compiling starts threads, which a limit on the address space would kill: compile every size first.
plenty = build(Store(root / "plenty"), 1e-9)
allow(ROOM)
scarce = build(Store(root / "scarce"))
print(json.dumps({"plenty": plenty, "scarce": scarce}))
"""


@pytest.mark.slow
def test_a_batch_over_its_share_is_halved(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """With next to no memory granted every trial runs alone, and is sound."""
    asked = [small(sampler_changes={"seed": seed}) for seed in range(3)]
    one_by_one = run_sweep(asked, memory_fraction=1e-9)
    stored: list[str] = []
    at_once = run_sweep(asked, on_record=lambda record: stored.append(record.id))
    assert stored == [*at_once.plan.targets, *at_once.plan.estimates]
    for ours, theirs in zip(one_by_one.estimates, at_once.estimates, strict=True):
        assert ours.status == theirs.status
        # Narrower vectors may round in another way, and 95 steps do not blow that up.
        assert ours.figures["llc"] == pytest.approx(theirs.figures["llc"], rel=1e-3)
    # A target is alone in its vector anyway.
    (target,) = at_once.plan.targets
    assert at_once.outcome(target) == one_by_one.outcome(target)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS limits nothing elsewhere")
def test_memory_that_runs_out(tmp_path: Path, small: Callable[..., Any]) -> None:
    """The address space is really limited: below what eight data sets need, above what one does."""
    asked = [
        small(data=small().data.model_copy(update={"n_data": ROWS, "input_dim": 20, "seed": seed}), steps=1)
        for seed in range(8)
    ]
    size = ROWS * 20 * 8
    code = EXHAUST.replace("ROOM", str(13 * size))
    texts = json.dumps([config.model_dump_json() for config in asked])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a store"), texts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    plenty, calls = found["plenty"]
    assert len(plenty) == calls == 8
    scarce, calls = found["scarce"]
    assert scarce == plenty
    assert 2 <= calls <= 8


def test_what_does_not_fit_alone_has_failed_and_is_run_again(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    """Two data sets of 16 TB in one batch, and a neighbour that is well."""
    huge = [
        small(data=TeacherStudentData(n_data=10**12, n_test=10, input_dim=2, seed=seed)) for seed in (1, 2)
    ]
    swept = run_sweep([*huge, small()])
    assert [len(batch) for batch in swept.finished] == [2, 1, 2, 1]
    *failed, sound = swept.targets
    for record in failed:
        assert record.status == "failed"
        assert record.reasons[0].startswith("out of memory: Unable to allocate ")
        assert record.figures == {}
    assert sound.status in ("ok", "flagged")

    again = make_plan([*huge, small()], swept.store)
    to_build = [trial.id for batch in again.batches_of("target") for trial in batch.trials]
    assert to_build == [record.id for record in failed]
    assert not {record.id for record in failed} & again.known.keys()


def test_estimates_on_a_target_that_failed(small: Callable[..., Any], run_sweep: Callable[..., Any]) -> None:
    """They have failed too, for its reason; other estimates of their batch are as without them."""
    asked = [small(target_seed=seed) for seed in (1, 2)]
    targets = run_sweep(asked, targets_only=True)
    lost = targets.targets[0]
    targets.store.put(replace(lost, status="failed", reasons=("out of memory: 1 TB",), arrays={}))
    stopped = make_plan(asked, targets.store)
    (batch,) = stopped.batches_of("llc")
    records = run_batch(LLC, batch.trials, targets.store, size=batch.size, datasets=batch.datasets)
    assert [record.id for record in records] == [trial.id for trial in batch.trials]
    assert records[0].status == "failed"
    assert records[0].reasons == ("target: out of memory: 1 TB",)
    alone = run_sweep(asked[1:])
    assert records[1].figures == alone.estimates[0].figures

    mended = run_sweep(asked, targets.store)
    assert [len(batch) for batch in mended.finished] == [1, 1]
    assert {record.status for record in (*mended.targets, *mended.estimates)} <= {"ok", "flagged"}
