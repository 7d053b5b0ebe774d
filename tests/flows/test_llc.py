"""The `llc` flow from Python: what it leaves in the store, and what Prefect says of it."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import TaskRunSort
from prefect.states import State

from sweepflow import llc
from sweepflow.errors import ConfigError, IncompleteError
from sweepflow.estimates.prepare import prepare
from sweepflow.flows.orchestrate import planned_ahead
from sweepflow.llc_sweep import LlcSweep
from sweepflow.storage.store import Store
from tests.prefect_server import TINY
from tests.slurm.processes import PATIENCE

pytestmark = [pytest.mark.server, pytest.mark.slow]


def tiny(store: Store, *overrides: str) -> list[str]:
    """The overrides of a tiny sweep in this store; what is given replaces what TINY says of the same key."""
    keys = {override.split("=")[0] for override in overrides}
    kept = [override for override in TINY if override.split("=")[0] not in keys]
    return [*kept, *overrides, f"store='{store.root}'".replace("researcher's", r"researcher\'s")]


def ids(store: Store) -> set[str]:
    return {record.id for prefix in ("tgt", "est") for record in store.records(prefix)}


def test_a_sweep_from_python_is_all_in_prefect(prefect: Any, store: Store) -> None:
    sweep = llc(overrides=tiny(store, "target.seed=1,2,3", "runner.batch_size=2"))

    assert isinstance(sweep, LlcSweep) and sweep.sound
    assert (len(sweep.targets), len(sweep.estimates)) == (3, 3)
    assert sweep.report.is_file()

    seen = prefect.see(ended=4)
    assert seen.run.state.name == "Completed"
    assert seen.run.name.startswith("llc model=mlp model.widths=[3]")
    assert {task.state.name for task in seen.tasks} == {"Completed"}
    (width,) = {word for name in seen.names() for word in name.split() if word.startswith("d=")}
    assert seen.names() == [
        f"llc: sgld on mlp {width} batch 1 of 2, 2 trials",
        f"llc: sgld on mlp {width} batch 2 of 2, 1 trial",
        f"target: mlp {width} batch 1 of 2, 2 trials",
        f"target: mlp {width} batch 2 of 2, 1 trial",
    ]
    assert all({"sweepflow", sweep.name} <= set(task.tags) for task in seen.tasks)
    progress = seen.artifact("sweep-progress")
    assert progress["data"] == 100.0
    assert "batches 4/4, trials 6/6, 0 from the store" in progress["description"]
    table = json.loads(seen.artifact("sweep-results")["data"])
    assert [row["id"] for row in table] == [record.id for record in sweep.estimates]
    assert sweep.report.absolute().as_uri() in seen.artifact("sweep-report")["data"]


def test_a_rerun_builds_and_samples_again(prefect: Any, store: Store) -> None:
    overrides = tiny(store)
    before = llc(overrides=overrides)
    paths = [store.paths.record(trial_id) for trial_id in ids(store)]
    contents = [path.read_bytes() for path in paths]
    again = llc(overrides=overrides, rerun=True)
    assert {task.state.name for task in prefect.see(ended=2).tasks} == {"Completed"}
    assert len(paths) == 2 and all(a != p.read_bytes() for a, p in zip(contents, paths, strict=True))
    assert [e.figures["llc"] for e in again.estimates] == [e.figures["llc"] for e in before.estimates]
    plan = prepare(overrides, rerun=True).plan
    assert (plan.hits, plan.trials) == (0, 2), "the next one is another"
    assert prepare(overrides).plan.hits == 2


def test_a_second_run_submits_nothing(prefect: Any, store: Store) -> None:
    overrides = tiny(store)
    first = llc(overrides=overrides)
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/??/*")}

    second = llc(overrides=overrides)

    assert prefect.see().tasks == []
    assert [record.id for record in second.estimates] == [record.id for record in first.estimates]
    assert {path: path.stat().st_mtime_ns for path in store.root.glob("*/??/*")} == before


def test_one_more_value_runs_only_what_is_new(prefect: Any, store: Store) -> None:
    llc(overrides=tiny(store, "target.seed=1"))
    llc(overrides=tiny(store, "target.seed=1,2"))
    assert [name.rsplit(", ")[-1] for name in prefect.see(ended=2).names()] == ["1 trial", "1 trial"]


def test_what_prefect_remembers_and_the_store_has_lost_is_run_again(prefect: Any, store: Store) -> None:
    overrides = tiny(store)
    sweep = llc(overrides=overrides)
    (estimate,) = sweep.estimates
    store.remove(estimate.id)

    again = llc(overrides=overrides)

    assert [record.id for record in again.estimates] == [estimate.id]
    assert sorted(task.state.name for task in prefect.see(ended=2).tasks) == ["Cached", "Completed"]


def test_a_torn_record_is_run_again(prefect: Any, store: Store) -> None:
    overrides = tiny(store)
    (estimate,) = llc(overrides=overrides).estimates
    path = store.paths.record(estimate.id)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.warns(UserWarning, match="is passed over"):
        (again,) = llc(overrides=overrides).estimates

    assert again.figures == estimate.figures
    assert {task.name.split(":")[0] for task in prefect.see(ended=2).tasks} == {"llc"}


def test_a_failed_record_is_run_again_though_prefect_remembers_its_batch(prefect: Any, store: Store) -> None:
    """To Prefect the batch ended well: that its only trial failed is in the trial's record."""
    overrides = tiny(store, f"data.n_data={10**12}")  # tens of terabytes
    first = llc(overrides=overrides)
    records = [*first.targets.values(), *first.estimates]
    assert [record.status for record in records] == ["failed", "failed"]
    assert "out of memory" in first.estimates[0].reasons[0]
    before = {record.id: store.paths.record(record.id).stat().st_mtime_ns for record in records}
    assert [task.state.name for task in prefect.see(ended=2).tasks] == ["Completed", "Completed"]

    again = llc(overrides=overrides)

    assert [record.status for record in again.estimates] == ["failed"]
    states = sorted(task.state.name for task in prefect.see(ended=4).tasks)
    assert states == ["Cached", "Cached", "Completed", "Completed"]
    assert all(store.paths.record(i).stat().st_mtime_ns > then for i, then in before.items())


def test_a_batch_that_fails_fails_the_flow_and_nothing_else(prefect: Any, store: Store) -> None:
    targets = llc(overrides=tiny(store, "model.widths=[3],[4]")).targets
    spoilt = next(i for i, record in targets.items() if record.config["model"]["widths"] == [4])
    arrays = next(store.paths.record(spoilt).parent.glob(f"{spoilt}.*.safetensors"))
    arrays.write_bytes(bytes(arrays.stat().st_size))  # of the right size, so that only its use finds it

    overrides = tiny(store, "model.widths=[3],[4]", "sampler.seed=7")
    state: State[Any] = llc(overrides=overrides, return_state=True)

    assert state.is_failed()
    error = state.result(raise_on_failure=False)
    assert isinstance(error, IncompleteError)
    plan = prepare(overrides).plan
    (missing,) = plan.estimates.keys() - plan.known.keys()
    assert plan.estimates[missing].config.target.model.widths == (4,)
    assert error.what == "1 of 4 trials have no result"
    (batch,) = plan.batches_of("llc")  # what is still to be run is the batch that failed
    assert [trial.id for trial in batch.trials] == [missing]
    assert str(error.got).startswith(f"{batch.name}: a record's arrays cannot be read: ")
    assert str(error.got).count("cannot be read") == 1, "and nothing else failed"
    assert spoilt in str(error.got)

    seen = prefect.see(state, ended=2)
    assert sorted(task.state.name for task in seen.tasks) == ["Completed", "Failed"]
    (failed,) = [task for task in seen.tasks if task.state.is_failed()]
    assert failed.run_count == 1, "a wrong file does not get better by waiting"
    assert len(plan.known) == 3, "the other batch's results are kept"

    store.remove(spoilt)
    assert llc(overrides=overrides).sound


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
def test_a_disk_that_recovers_is_tried_again(prefect: Any, store: Store) -> None:
    prepared = prepare(tiny(store))
    (estimate,) = prepared.plan.estimates
    obstacle = store.paths.record(estimate)
    obstacle.parent.mkdir(parents=True)
    obstacle.symlink_to("/proc/self/mem")  # its first byte cannot be read: a real I/O error, always

    def clear_after_a_failure() -> None:
        with get_client(sync_client=True) as client:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                runs = client.read_task_runs(limit=50, sort=TaskRunSort.EXPECTED_START_TIME_DESC)
                if any(run.state_name == "AwaitingRetry" for run in runs):
                    break
                time.sleep(0.1)
        obstacle.unlink()

    # The plan was made before the disk failed; the rest is what the flow does with it.
    clearing = threading.Thread(target=clear_after_a_failure)
    clearing.start()
    with planned_ahead(prepared):
        llc(tiny(store))
    clearing.join()

    assert store.finished([estimate]).keys() == {estimate}
    assert prefect.see(ended=2).task("llc").run_count >= 2


def test_a_group_is_sampled_while_another_is_still_built(prefect: Any, store: Store) -> None:
    # The wide model trains for seconds, the narrow one for a fraction of that.
    overrides = tiny(store, "model.widths=[2],[48,48]", "data.n_data=400", "target.steps=1500")
    llc(overrides=overrides)

    seen = prefect.see(ended=4)
    built = {task.name: task.end_time for task in seen.tasks if task.name.startswith("target")}
    sampled = min(task.start_time for task in seen.tasks if task.name.startswith("llc"))
    assert min(built.values()) <= sampled < max(built.values())


def test_bad_input_fails_the_flow_before_any_task(prefect: Any, store: Store) -> None:
    with pytest.raises(ConfigError, match="n_data"):
        llc(overrides=tiny(store, "data.n_data=0"))
    seen = prefect.see()
    assert seen.run.state.name == "Failed"
    assert seen.tasks == [] and not store.root.exists()


def test_a_flow_is_called_from_a_running_event_loop(prefect: Any, store: Store) -> None:
    """As in a notebook."""

    async def cell() -> LlcSweep:
        return llc(overrides=tiny(store))

    assert asyncio.run(cell()).sound


def test_no_array_travels_in_a_task_parameter(store: Store) -> None:
    plan = prepare(tiny(store, "target.seed=range(0,100)")).plan
    for batch in (*plan.batches_of("target"), *plan.batches_of("llc")):
        content = pickle.dumps(batch)
        assert b"numpy" not in content and b"jax" not in content
        assert len(content) < 10_000 + 1_000 * len(batch.trials)


def test_a_relative_store_is_where_the_flow_was_called(
    prefect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    llc(overrides=[*TINY, "store=here"])
    assert len(ids(Store(tmp_path / "here"))) == 2
