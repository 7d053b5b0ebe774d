"""Sweeps before and after their work, without Prefect: what they judge by, draw and say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweepflow.engine.run import run_batch
from sweepflow.engine.workload import Workload
from sweepflow.errors import ConfigError
from sweepflow.flows.cli.print_trials import print_trials_plan
from sweepflow.flows.dispatch.ways import best_so_far
from sweepflow.jobs.sweepers import override
from sweepflow.report.trials.configurations import configurations
from sweepflow.report.trials.headline import headline
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.trials.prepare import SweepOptions, prepare_trials
from sweepflow.trials.result import MANIFEST, TrialsSweep, load_sweep
from sweepflow.workloads.goal import Aim

LAB = """
from sweepflow.schema.fields import Config as Base, Content, Traced
METRIC = "{metric}"
{more}
class Config(Base):
    x: Traced[float] = 0.5
    depth: int = 1
    tag: Content[str] = ""
    seed: Content[int] = 0

def run(config, inputs, key):
    return {{"{metric}": config.x, "val_loss": -config.x}}
"""
Lab = Callable[..., list[str]]


@pytest.fixture
def lab(tmp_path: Path, store: Store) -> Lab:
    """Overrides of a workload of one's own, whose metric is its x."""
    path = tmp_path / "lab.py"

    def write(metric: str = "val_acc", more: str = "", text: str = LAB) -> list[str]:
        path.write_text(text.format(metric=metric, more=more))
        return [override("workload", str(path)), override("store", str(store.root))]

    return write


def run(overrides: Sequence[str], options: SweepOptions | None = None) -> TrialsSweep:
    """What the flow does, in this thread."""
    prepared = prepare_trials(overrides, options or SweepOptions())
    assert isinstance(prepared.plan.workload.run, Workload)
    for batch in prepared.plan.batches:
        run_batch(
            prepared.plan.workload.run, batch.trials, prepared.store, size=batch.size, datasets=batch.datasets
        )
    return prepared.collect()


@pytest.mark.parametrize(("metric", "best"), [("mAP", 3.0), ("log_likelihood", 3.0), ("nll", 1.0)])
def test_a_goal_that_only_a_name_tells_is_said_wherever_the_best_is(
    metric: str, best: float, lab: Lab, store: Store
) -> None:
    found = run([*lab(metric), "x=1,3,2"])
    assert found.best is not None and found.best["x"] == best
    words = f"{'more' if best > 1 else 'less'} is better, going by the name {metric}"
    for name in ("best.yaml", "report.html"):
        assert words in (found.directory / name).read_text(), name
    (ended,) = [json.loads(line) for line in (found.directory / MANIFEST).read_text().splitlines()]
    assert ended["goal_guessed"]
    again = load_sweep(store, found.name)
    assert again.best == found.best and words in (again.view.better)


@pytest.mark.parametrize(
    ("more", "options"),
    [('GOAL = "maximize"', {}), ('GOAL = {"y": "maximize"}', {}), ("", {"goal": "maximize"})],
)
def test_a_goal_that_is_stated_or_given_is_no_guess(more: str, options: dict[str, str], lab: Lab) -> None:
    found = run([*lab("y", more), "x=1,3,2"], SweepOptions(**options))  # type: ignore[arg-type]
    assert found.best is not None and found.best["x"] == 3
    assert "going by" not in (found.directory / "best.yaml").read_text() + found.report.read_text()


def test_a_name_that_says_nothing_is_asked_about_before_any_work(lab: Lab, store: Store) -> None:
    for metric in ("y", "accuracy_loss"):
        with pytest.raises(ConfigError, match="--goal maximize"):
            prepare_trials([*lab(metric), "x=1,3,2"], SweepOptions())
    assert not store.root.exists()


def test_progress_halving_and_the_plan_have_the_sweeps_goal(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*lab("mAP"), "x=1,3,2"]
    run(overrides)
    prepared = prepare_trials(overrides, SweepOptions())
    records = list(prepared.plan.known.values())
    assert [best_so_far(prepared)(record) for record in records] == ["best mAP 3"] * 3
    print_trials_plan(prepared)
    assert "more is better, going by the name mAP" in " ".join(capsys.readouterr().out.split())


def test_a_look_at_a_rerun_says_what_it_would_run_and_asks_for_nothing(
    lab: Lab, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, again = [*lab(), "x=1,3,2"], SweepOptions(rerun=True)
    run(overrides)
    looked = prepare_trials(overrides, again)
    assert (looked.plan.hits, len(looked.plan.drawn.trials)) == (0, 3) and not store.paths.reruns.exists()
    print_trials_plan(looked)
    assert "3 trials to run are known" in " ".join(capsys.readouterr().out.split())
    assert prepare_trials(overrides, again, "a run").plan.hits == 0
    prepared = prepare_trials(overrides, SweepOptions())
    assert prepared.plan.hits == 0, "whoever goes on with it"
    assert "3 trials of the rerun are yet to run" in " ".join(prepared.collect().notes)
    assert len(run(overrides).trials) == 3
    assert prepare_trials(overrides, again, "a run").plan.hits == 3, "the same run, resumed"


def test_a_rerun_of_a_halved_sweep_asks_for_its_rungs(store: Store) -> None:
    overrides = [
        "workload=digits_mlp",
        "learning_rate=0.1,0.2",
        "epochs=9",
        override("store", str(store.root)),
    ]
    prepare_trials(overrides, SweepOptions(rerun=True, halving=3), "a run")
    (request,) = store.paths.reruns.glob("*.json")
    assert len(json.loads(request.read_bytes())["asked"]) == 6


def test_a_lucky_repeat_of_a_sweep_that_was_cut_is_not_the_best(lab: Lab, store: Store) -> None:
    """Of x=3 one repeat has run, of x=2 all three: a table of what there is so far does not lie."""
    overrides = [*lab(), "x=1,3,2", "seed=0,1,2"]
    whole = run(overrides)
    assert whole.best is not None and whole.best["x"] == 3
    lost = [trial.id for trial in whole.trials if trial.config["x"] == 3][1:]
    for trial_id in lost:
        store.remove(trial_id)
    cut = prepare_trials(overrides, SweepOptions()).collect()
    for found in (cut, load_sweep(store, cut.name)):
        assert found.best is not None and found.best["x"] == 2 and set(cut.missing) == set(lost)
        (one,) = [c for c in configurations(found.view) if c.mean == 3]
        assert (one.n, one.n_failed, len(one.values)) == (3, 2, 1)
        assert "over 3 repeats" in headline(found.view)
    for trial in cut.trials:
        if trial.config["x"] != 3 and trial.config["seed"] == 0:
            store.remove(trial.id)
    cut = prepare_trials(overrides, SweepOptions()).collect()
    assert "over 1 of 3 repeats" in headline(cut.view), "where none is whole, it says so"


def test_a_metric_that_nothing_promises_and_no_record_has_is_refused_before_work(store: Store) -> None:
    program = [
        override("store", str(store.root)),
        "workload=command",
        "command='python -V'",
        "metrics=[val_loss]",
        "args.x=1,2",
    ]
    for name in ("val_los", "recall"):
        with pytest.raises(ConfigError, match=r"no such figure(.|\n)*metrics=\[\.\.\.\]") as caught:
            prepare_trials(program, SweepOptions(metric=name))
        assert "val_loss" in str(caught.value.allowed)
    for name in ("val_loss", "best_val_loss"):
        assert prepare_trials(program, SweepOptions(metric=name)).aim == Aim(name, "minimize", guessed=True)
    trial = next(iter(prepare_trials(program, SweepOptions()).plan.drawn.trials.values()))
    store.put(Record(trial.id, "command", 1, "ok", (), trial.config.model_dump(mode="json"), {"recall": 0.5}))
    assert prepare_trials(program, SweepOptions(metric="recall")).aim.goal == "maximize", "one record has it"


def test_other_trials_under_a_name_are_said_to_be_of_the_same_command_or_of_another(lab: Lab) -> None:
    typed = [*lab(), "name=mine"]
    assert not [note for note in run(typed).notes if "replaced" in note]
    lab(more="OFFSET = 1")
    (edited,) = [note for note in run(typed).notes if "replaced" in note]
    assert edited.startswith("the same command has other trials than before, because files or code")
    (other,) = [note for note in run([*typed, "x=2"]).notes if "replaced" in note]
    assert other.startswith("mine named the sweep of another command (sweepflow sweep workload=")
    assert not [note for note in run([*typed, "x=2,3"]).notes if "replaced" in note], "it has that trial, too"
