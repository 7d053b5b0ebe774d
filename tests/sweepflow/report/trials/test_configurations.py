from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sweepflow.errors import ConfigError
from sweepflow.report.trials.configurations import (
    best,
    best_first,
    best_in_words,
    best_yaml,
    configurations,
    ranked,
)
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Trial = Callable[..., Record]
ViewOf = Callable[..., TrialsView]


def test_repeats_are_one_configuration(trial: Trial, view_of: ViewOf) -> None:
    values = {0.1: (0.5, 0.7, 0.6), 0.01: (0.2, None, 0.4)}
    records = [
        trial(v, status="ok" if v else "diverged", learning_rate=rate, seed=seed)
        for rate, ours in values.items()
        for seed, v in enumerate(ours)
    ]
    first, second = configurations(view_of(records))
    assert first.places == (0, 1, 2) and second.places == (3, 4, 5)
    assert first.mean == pytest.approx(0.6) and first.sd == pytest.approx(statistics.stdev((0.5, 0.7, 0.6)))
    assert (first.best, first.worst, first.n, first.n_failed) == (0.5, 0.7, 3, 0)
    assert (second.best, second.worst, second.n, second.n_failed) == (0.2, 0.4, 3, 1)
    assert second.mean == pytest.approx(0.3) and second.status == "diverged"


def test_a_configuration_that_lost_a_repeat_is_worse_than_any_whole_one(
    trial: Trial, view_of: ViewOf
) -> None:
    records = [
        trial(0.1, learning_rate=0.1, seed=0),
        trial(None, status="failed", learning_rate=0.1, seed=1),
        trial(0.9, learning_rate=0.01, seed=0),
        trial(0.8, learning_rate=0.01, seed=1),
        trial(None, status="diverged", learning_rate=1.0, seed=0),
    ]
    view = view_of(records)
    assert [one.places[0] for one in ranked(view)] == [2, 0, 4]
    found = best(view)
    assert found is not None and found.place == 3
    # Where nothing is whole, the best of what there is.
    found = best(view_of(records[:2] + records[4:]))
    assert found is not None and found.place == 0


def test_the_best_and_worst_repeat_go_by_the_goal(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(v, seed=i) for i, v in enumerate((0.4, 0.8))]
    (one,) = configurations(view_of(records, metric="validation_accuracy", goal="maximize"))
    assert one.best == pytest.approx(0.9) and one.worst == pytest.approx(0.8) and one.place == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.1, 10) | st.none()), min_size=1, max_size=12))
def test_turning_the_metric_and_the_goal_round_changes_no_order(
    drawn: list[tuple[int, float | None]],
) -> None:
    def view(sign: float, goal: str) -> TrialsView:
        records = [
            Record(
                id=f"trl_{i}",
                workload="w",
                version=1,
                status="diverged" if value is None else "ok",
                reasons=(),
                config={"rate": rate, "seed": i},
                figures={} if value is None else {"m": sign * value},
            )
            for i, (rate, value) in enumerate(drawn)
        ]
        return TrialsView(records, "m", goal, frozenset(), {})  # type: ignore[arg-type]

    down, up = ranked(view(1.0, "minimize")), ranked(view(-1.0, "maximize"))
    assert [one.places for one in down] == [one.places for one in up]
    assert [one.place for one in down] == [one.place for one in up]


def test_no_trial_with_a_value_has_no_best(trial: Trial, view_of: ViewOf) -> None:
    view = view_of([trial(status="failed"), trial(None, status="diverged", learning_rate=1.0)])
    assert best(view) is None and best(view_of([])) is None
    with pytest.raises(
        ConfigError, match=r"no trial has a value of validation_loss\.\n.*1 diverged, 1 failed"
    ):
        best_yaml(view)


def test_the_best_is_a_file_that_gives_the_same_configuration(trial: Trial, view_of: ViewOf) -> None:
    odd = {"command": "python ${HOME}/x.py 'a' # b", "text": "1e-5", "yes": "on", "flag": True}
    records = [
        trial(0.3, learning_rate=3e-05, odd=odd, seed=4),
        trial(0.2, learning_rate=3e-05, odd=odd, seed=5),
    ]
    text = best_yaml(view_of(records), "sweepflow sweep\n  workload=x")
    lines = text.splitlines()
    assert lines[:4] == [
        "# @package _global_",
        "# validation_loss: 0.250 ± 0.071 (minimize), mean ± sd over 2 of 2 repeats",
        f"# trial: {records[1].id}",
        "# sweep: sweepflow sweep workload=x",
    ]
    assert OmegaConf.to_container(OmegaConf.create(text), resolve=True) == records[1].config


def test_defaults_that_say_nothing_are_left_out_of_the_best(trial: Trial, view_of: ViewOf) -> None:
    rest: dict[str, Any] = {
        "idle": None,
        "overrides": [],
        "model": {"kind": "mlp", "norm": None, "widths": []},
        "zero": 0,
    }
    records = [trial(0.2, clip_norm=None, **rest), trial(0.3, clip_norm=1.0, **rest)]
    found = OmegaConf.to_container(OmegaConf.create(best_yaml(view_of(records))))
    # A null that was chosen among others need not be the default.
    expected = {**records[0].config, "model": {"kind": "mlp"}}
    assert found == {key: value for key, value in expected.items() if key not in ("idle", "overrides")}
    assert found["clip_norm"] is None and found["zero"] == 0


def test_the_best_trial_is_the_best_repeat_of_the_best_mean(trial: Trial, view_of: ViewOf) -> None:
    values = {0.1: (0.1, 0.9), 0.01: (0.3, 0.2)}
    records = [trial(v, learning_rate=x, seed=s) for x, ours in values.items() for s, v in enumerate(ours)]
    view = view_of(records)
    assert view.by_merit.tolist() == [0, 3, 2, 1] and best_first(view).tolist() == [3, 0, 2, 1]
    assert "the configuration with the best mean." in best_in_words(view)
    assert best_in_words(view_of(records[::2])) == ""


def test_the_best_trial_is_one_that_halving_let_go_furthest(trial: Trial, view_of: ViewOf) -> None:
    records = [trial(v, learning_rate=0.1 + i) for i, v in enumerate((0.1, 0.4, 0.3))]
    records = [replace(r, figures={**r.figures, "rung": min(i, 1)}) for i, r in enumerate(records)]
    view = view_of(records)
    assert best_first(view).tolist() == [2, 0, 1] and view.stopped.tolist() == [True, False, False]
    assert best_in_words(view) == "The best trial is the best among those that halving let go furthest."


def test_the_best_is_an_experiment_for_hydra(trial: Trial, view_of: ViewOf, tmp_path: Path) -> None:
    record = trial(0.3, learning_rate=0.002, model={"kind": "cnn", "widths": [8, 16]})
    directory = tmp_path / "con fig"
    (directory / "experiment").mkdir(parents=True)
    (directory / "experiment" / "best.yaml").write_text(best_yaml(view_of([record])), encoding="utf-8")
    (directory / "sweep.yaml").write_text(
        "optimizer: adam\nlearning_rate: 0.1\nmodel: {kind: mlp}\nother: 1\n"
    )
    with initialize_config_dir(str(directory), version_base=None):
        composed = compose("sweep", overrides=["+experiment=best"])
    assert OmegaConf.to_container(composed) == {**record.config, "other": 1}
